"""Writes crates/marey-eval/tests/it/golden/judge.json: figures of scores and boxes, calibration, selective prediction, label errors.

Run from the project root:  python reference/judge_golden.py
Made with scikit-learn 1.9.1, torchmetrics 1.9.0, scipy 1.17.1, numpy 2.4.6, torch 2.15.0.

Scores are multiples of 1/64 that sum to 1, so that ties are common, edges of bins are hit, and JSON holds every number exactly.
"""

import json
from pathlib import Path

import numpy as np
import scipy
import scipy.stats
import sklearn
import torch
import torchmetrics
from scipy.optimize import least_squares, minimize, minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    matthews_corrcoef,
    roc_auc_score,
    roc_curve,
)
from torchmetrics.functional.classification import (
    multiclass_auroc,
    multiclass_average_precision,
    multiclass_calibration_error,
    multiclass_matthews_corrcoef,
)

OUT = Path("crates/marey-eval/tests/it/golden/judge.json")


def calibration_error(confidence, right, bins):
    """Bins (low, high], the first with 0: Guo et al. 2017."""
    edges = np.arange(1, bins) / bins
    which = np.searchsorted(edges, confidence, side="left")
    error = 0.0
    for b in range(bins):
        inside = which == b
        if inside.any():
            error += abs(confidence[inside].mean() - right[inside].mean()) * inside.mean()
    return float(error)


def class_figures(targets, scores):
    classes = scores.shape[1]
    predicted = scores.argmax(axis=1)
    present = np.unique(targets)
    confidence, right = scores.max(axis=1), predicted == targets
    onehot = np.eye(classes)[targets]
    found = {
        "mcc": float(matthews_corrcoef(targets, predicted)),
        "mean_class_accuracy": float(balanced_accuracy_score(targets, predicted)),
        "macro_average_precision": float(
            np.mean([average_precision_score(targets == k, scores[:, k]) for k in present])
        ),
        "ece": calibration_error(confidence, right, 15),
        "brier": float(((scores - onehot) ** 2).sum(axis=1).mean()),
    }
    assert np.isclose(
        found["brier"],
        brier_score_loss(targets, scores, labels=np.arange(classes), scale_by_half=False) if classes > 2
        else 2 * brier_score_loss(targets, scores[:, 1], pos_label=1),
    )
    tensor, truth = torch.tensor(scores), torch.tensor(targets)
    assert np.isclose(found["mcc"], multiclass_matthews_corrcoef(tensor, truth, classes), atol=1e-6)
    if (confidence < 1).all():  # torchmetrics' bins are closed below; no multiple of 1/64 but 1 is one of 1/15
        assert np.isclose(found["ece"], multiclass_calibration_error(tensor, truth, classes, n_bins=15), atol=1e-6)
    if len(present) > 1:
        found["roc_auc"] = float(np.mean([roc_auc_score(targets == k, scores[:, k]) for k in present]))
    if len(present) == classes and classes > 2:
        assert np.isclose(found["roc_auc"], multiclass_auroc(tensor, truth, classes), atol=1e-6)
        assert np.isclose(
            found["macro_average_precision"], multiclass_average_precision(tensor, truth, classes), atol=1e-6
        )
    return found


def prior_figures(targets, train_counts):
    """The class shares of training as the scores of every item."""
    shares = train_counts / train_counts.sum()
    scores = np.tile(shares, (len(targets), 1))
    onehot = np.eye(len(shares))[targets]
    top = shares.argmax()
    return {
        "ece": float(abs(shares[top] - (targets == top).mean())),
        "brier": float(((scores - onehot) ** 2).sum(axis=1).mean()),
    }


def random_scores(rng, targets, classes, skill):
    weights = rng.dirichlet(np.full(classes, 0.6), len(targets))
    weights[np.arange(len(targets)), targets] += skill * rng.random(len(targets))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.stack([rng.multinomial(64, w) for w in weights])


def classification_case(name, seed, items, classes, skill, truth, groups):
    rng = np.random.default_rng(seed)
    group_of = rng.integers(0, groups, items)
    targets = rng.choice(truth, items)
    if name == "single_class_groups":
        targets = np.asarray(truth)[group_of % len(truth)]
    scores = random_scores(rng, targets, classes, skill)
    train_counts = rng.integers(1, 40, classes)
    case = {
        "name": name,
        "train_counts": train_counts.tolist(),
        "targets": targets.tolist(),
        "groups": group_of.tolist(),
        "scores_in_64ths": scores.tolist(),
        "figures": class_figures(targets, scores / 64),
        "baselines": prior_figures(targets, train_counts),
    }
    return decisions(targets, scores / 64, case)


def binary_case(name, seed, items, share, skill, steps):
    rng = np.random.default_rng(seed)
    positive = rng.random(items) < share
    scores = np.clip(np.round(steps * (rng.random(items) + skill * positive) / (1 + skill)), 0, steps) / steps
    found = {"ece": calibration_error(scores, positive, 10)}
    if positive.any():
        found["average_precision"] = float(average_precision_score(positive, scores))
    if positive.any() and not positive.all():
        found["roc_auc"] = float(roc_auc_score(positive, scores))
        false, true, _ = roc_curve(positive, scores, drop_intermediate=False)
        found["fpr_at_95_tpr"] = float(false[true >= 0.95].min())
        found["tpr_at_5_fpr"] = float(true[false <= 0.05].max())
    return {"name": name, "is_positive": positive.tolist(), "scores": scores.tolist(), "figures": found}


def calibration_case(name, seed, items, classes, sharpness):
    """Temperature, vector and isotonic scaling fitted on one set of logits, applied to another."""
    rng = np.random.default_rng(seed)

    def draw(count):
        targets = rng.integers(0, classes, count)
        logits = rng.normal(size=(count, classes)) * 1.5
        logits[np.arange(count), targets] += 1.2
        logits[:, 0] += 0.4
        return targets, np.round(sharpness * logits * 16) / 16  # exact in f32 and in JSON

    targets, logits = draw(items)
    _, fresh = draw(12)
    onehot = np.eye(classes)[targets]

    def nll(z):
        return float(-(log_softmax(z, axis=1)[np.arange(len(targets)), targets]).mean())

    temperature = 1 / minimize_scalar(
        lambda inverse: nll(logits * inverse), bounds=(0.01, 100), method="bounded", options={"xatol": 1e-13}
    ).x

    def vector_loss(parameters):
        scale, bias = parameters[:classes], parameters[classes:]
        z = logits * scale + bias
        error = (softmax(z, axis=1) - onehot) / len(targets)
        gradient = np.concatenate([(error * logits).sum(axis=0), error.sum(axis=0)])
        away = parameters - np.concatenate([np.ones(classes), np.zeros(classes)])
        return nll(z) + 0.5e-6 * (away @ away), gradient + 1e-6 * away

    start = np.concatenate([np.ones(classes), np.zeros(classes)])
    vector = minimize(vector_loss, start, jac=True, method="BFGS", options={"gtol": 1e-11, "maxiter": 10000}).x
    scale, bias = vector[:classes], vector[classes:]

    isotonic = np.zeros((len(fresh), classes))
    for k in range(classes):
        curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        isotonic[:, k] = curve.fit(softmax(logits, axis=1)[:, k], targets == k).predict(softmax(fresh, axis=1)[:, k])
    assert (isotonic.sum(axis=1) > 0).all()
    isotonic /= isotonic.sum(axis=1, keepdims=True)
    return {
        "name": name,
        "targets": targets.tolist(),
        "logits": logits.tolist(),
        "fresh": fresh.tolist(),
        "temperature": float(temperature),
        "scale": scale.tolist(),
        "bias": bias.tolist(),
        "by_temperature": softmax(fresh / temperature, axis=1).tolist(),
        "by_vector": softmax(fresh * scale + bias, axis=1).tolist(),
        "by_isotonic": isotonic.tolist(),
        "msp": (1 - softmax(fresh, axis=1).max(axis=1)).tolist(),
        "entropy": scipy.stats.entropy(softmax(fresh, axis=1), axis=1).tolist(),
        "energy": (-logsumexp(fresh, axis=1)).tolist(),
    }


def selective(confidence, right, accuracy):
    """Area under risk-coverage and coverage at an accuracy; items of equal confidence are taken together."""
    risks, coverage = [], 0.0
    for threshold in confidence:
        answered = confidence >= threshold
        risks.append(1 - right[answered].mean())
        if right[answered].sum() >= accuracy * answered.sum():
            coverage = max(coverage, float(answered.mean()))
    return {"risk_coverage_area": float(np.mean(risks)), "coverage_at_accuracy": coverage}


def label_candidates(targets, scores):
    """Northcutt et al. 2021: indices of confident off-diagonal items, by normalised margin."""
    classes = scores.shape[1]
    threshold = np.array(
        [scores[targets == k, k].mean() if (targets == k).any() else np.inf for k in range(classes)]
    )
    found = []
    for i, (label, score) in enumerate(zip(targets, scores)):
        confident = np.where(score >= threshold, score, -np.inf)
        if confident.max() > -np.inf and confident.argmax() != label:
            found.append((score[label] - np.delete(score, label).max(), f"item {i:03}", int(confident.argmax())))
    return [[item, likely, float(margin)] for margin, item, likely in sorted(found)]


def decisions(targets, scores, case):
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == targets
    onehot = np.eye(scores.shape[1])[targets]
    case["selective"] = selective(confidence, right, 0.8)
    case["label_candidates"] = label_candidates(targets, scores)
    case["nll"] = float(-np.log(np.maximum((scores * onehot).sum(axis=1), np.finfo(np.float32).tiny)).mean())
    case["class_0"] = {
        "f1": float(f1_score(targets == 0, scores.argmax(axis=1) == 0, zero_division=0)),
        "average_precision": float(average_precision_score(targets == 0, scores[:, 0])) if (targets == 0).any() else None,
        "positive_brier": float(((scores[:, 0] - (targets == 0)) ** 2).mean()),
    }
    return case


def average_precision_101(recall, precision):
    """The area as Ultralytics computes it: envelope, 101 recalls, trapezoids."""
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[1.0], precision, [0.0]])
    envelope = np.flip(np.maximum.accumulate(np.flip(precision)))
    x = np.linspace(0, 1, 101)
    return float(np.trapezoid(np.interp(x, recall, envelope), x))


def detection_case(seed, pictures, classes):
    """Boxes on a coarse grid; scores all differ."""
    rng = np.random.default_rng(seed)

    def box():
        left, top = rng.integers(0, 12, 2)
        width, height = rng.integers(2, 7, 2)
        return [int(v) for v in (left, top, left + width, top + height)]

    scores = rng.permutation(10_000) / 10_000
    case = []
    for _ in range(pictures):
        truths = [[int(rng.integers(classes)), box()] for _ in range(rng.integers(0, 4))]
        found = []
        for label, area in truths:
            if rng.random() < 0.8:
                moved = [a + int(rng.integers(-1, 2)) for a in area]
                if moved[2] > moved[0] and moved[3] > moved[1]:
                    found.append([label, moved])
        found += [[int(rng.integers(classes)), box()] for _ in range(rng.integers(0, 3))]
        case.append({"truths": truths, "found": [[*f, float(scores[0])] for f in found]})
        for f in case[-1]["found"]:
            f[2], scores = float(scores[0]), scores[1:]

    def overlap(a, b):
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        both = max(width, 0) * max(height, 0)
        size = lambda r: (r[2] - r[0]) * (r[3] - r[1])
        return both / (size(a) + size(b) - both)

    areas = []
    for needed in np.linspace(0.5, 0.95, 10).round(2):
        for label in range(classes):
            truths = sum(t[0] == label for p in case for t in p["truths"])
            if truths == 0:
                continue
            hits = []
            for picture in case:
                free = [t[1] for t in picture["truths"] if t[0] == label]
                for _, area, score in sorted((f for f in picture["found"] if f[0] == label), key=lambda f: -f[2]):
                    overlaps = [overlap(area, t) for t in free]
                    is_right = bool(overlaps) and max(overlaps) >= needed
                    if is_right:
                        free.pop(int(np.argmax(overlaps)))
                    hits.append((score, is_right))
            right = np.array([h for _, h in sorted(hits, reverse=True)], dtype=float)
            found = right.cumsum()
            areas.append((needed, average_precision_101(found / truths, found / np.arange(1, len(found) + 1))))
    return {
        "pictures": case,
        "ap50": float(np.mean([a for needed, a in areas if needed == 0.5])),
        "ap50_95": float(np.mean([a for _, a in areas])),
    }


def learning_curve_case():
    """A power law through four points, by scipy's bounded least squares."""
    sizes, errors = np.array([40.0, 80.0, 160.0, 320.0]), np.array([0.62, 0.47, 0.38, 0.31])
    best = least_squares(
        lambda p: p[0] + p[1] * sizes ** -p[2] - errors, [0.1, 2.0, 0.5],
        bounds=([0, 0, 0.02], [1, np.inf, 3]), xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=100_000,
    ).x
    return {"sizes": sizes.tolist(), "errors": errors.tolist(), "at_640": float(best[0] + best[1] * 640 ** -best[2])}


def main():
    classification = {
        "two_classes": dict(items=90, classes=2, skill=0.5, truth=[0, 1], groups=15),
        "ties": dict(items=120, classes=7, skill=0.3, truth=list(range(7)), groups=20),
        "missing_classes": dict(items=100, classes=9, skill=0.4, truth=[0, 3, 4, 8], groups=12),
        "single_class_groups": dict(items=110, classes=6, skill=0.4, truth=list(range(6)), groups=18),
        "one_class": dict(items=40, classes=4, skill=0.4, truth=[2], groups=8),
    }
    binary = {
        "rare": dict(items=200, share=0.15, skill=0.5, steps=10),
        "fine": dict(items=150, share=0.5, skill=0.8, steps=1000),
        "ties_only": dict(items=60, share=0.4, skill=0.0, steps=1),
        "all_positive": dict(items=20, share=1.0, skill=0.2, steps=16),
        "all_negative": dict(items=20, share=0.0, skill=0.2, steps=16),
    }
    golden = {
        "origin": "reference/judge_golden.py",
        "versions": {m.__name__: m.__version__ for m in (sklearn, torchmetrics, scipy, np, torch)},
        "classification": [
            classification_case(name, seed, **options)
            for seed, (name, options) in enumerate(classification.items())
        ],
        "binary": [binary_case(name, seed, **options) for seed, (name, options) in enumerate(binary.items())],
        "calibration": [
            calibration_case("overconfident", 0, items=150, classes=4, sharpness=3.0),
            calibration_case("two_classes", 1, items=120, classes=2, sharpness=0.5),
        ],
        "detection": [detection_case(seed, pictures=30, classes=3) for seed in range(2)],
        "learning_curve": learning_curve_case(),
    }
    text = json.dumps(golden, separators=(",", ":")).replace("},{", "},\n{").replace('],"', '],\n"')
    OUT.write_text(text + "\n")


if __name__ == "__main__":
    main()
