"""Writes the golden figures of marey-eval with scikit-learn, torchmetrics and SciPy.

Run from the project root:  python reference/eval_golden.py
Writes crates/marey-eval/tests/it/golden/*.json. Made with scikit-learn 1.9.1, torchmetrics 1.9.0, numpy 2.4.6, torch 2.15.0;
`versions` in each file says which ones wrote it.

Scores are multiples of 1/16, so that ties are common and JSON holds every number exactly. Of equal scores the earlier class
wins; scikit-learn's top-k takes the later one, hence it is given mirrored classes.
"""

import json
from pathlib import Path

import numpy as np
import scipy
import scipy.stats
import sklearn
import torch
import torchmetrics
from sklearn.dummy import DummyClassifier
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)
from torchmetrics.functional.classification import multiclass_recall

OUT = Path("crates/marey-eval/tests/it/golden")
BOOTSTRAP_DRAWS = 20_000


def top_k(targets, scores, k):
    """Top-k accuracy where the earlier of equal classes comes first."""
    classes = scores.shape[1]
    if k >= classes:
        return 1.0
    return top_k_accuracy_score(classes - 1 - targets, scores[:, ::-1], k=k, labels=np.arange(classes))


def macro(targets, predicted, classes):
    """Precision, recall and F1, averaged over the classes present in the truth."""
    present = np.unique(targets)
    values = precision_recall_fscore_support(
        targets, predicted, labels=present, average="macro", zero_division=0
    )
    return [float(value) for value in values[:3]]


def union_recall(targets, predicted, classes):
    """Recall averaged over the classes in the truth or the predictions, which is what torchmetrics' macro is."""
    value = multiclass_recall(
        torch.tensor(predicted), torch.tensor(targets), num_classes=classes, average="macro"
    )
    return float(value.double())


def figures(targets, predicted, top5, classes):
    precision, recall, f1 = macro(targets, predicted, classes)
    return {
        "top1": float(np.mean(targets == predicted)),
        "top5": float(top5),
        "mean_class_accuracy": recall,
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
        "union_mean_recall": union_recall(targets, predicted, classes),
        "mcc": float(matthews_corrcoef(targets, predicted)),
    }


def ranked(targets, scores):
    """Average precision and ROC AUC of each class in the truth against the rest, averaged; no AUC of one class."""
    present = np.unique(targets)
    found = {
        "macro_average_precision": float(
            np.mean([average_precision_score(targets == k, scores[:, k]) for k in present])
        )
    }
    if len(present) > 1:
        found["roc_auc"] = float(np.mean([roc_auc_score(targets == k, scores[:, k]) for k in present]))
    return found


def random_average_precision(positives, total):
    """Bestgen 2015: the mean average precision of all orders."""
    if total == 1:
        return 1.0
    harmonic = np.sum(1 / np.arange(1, total + 1))
    return float(((positives - 1) / (total - 1) * (total - harmonic) + harmonic) / total)


def baselines(targets, constant, constant_top5_value, train_counts, classes):
    """Of the predictors that never look: the constant one, and for macro precision and F1 the strongest of it and two guesses."""
    found = figures(targets, constant, constant_top5_value, classes)
    present, counts = np.unique(targets, return_counts=True)
    truth = counts / len(targets)
    for guess in (train_counts / train_counts.sum(), np.full(classes, 1 / classes)):
        guess = guess[present]
        f1 = np.divide(2 * truth * guess, truth + guess)
        found["macro_f1"] = max(found["macro_f1"], float(f1.mean()))
        found["macro_precision"] = max(found["macro_precision"], float(np.where(guess > 0, truth, 0).mean()))
    found["macro_average_precision"] = float(
        np.mean([random_average_precision(count, len(targets)) for count in counts])
    )
    found["roc_auc"] = 0.5
    return found


def constant_top5(targets, train_counts):
    ranking = np.argsort(-np.asarray(train_counts), kind="stable")[:5]
    return float(np.mean(np.isin(targets, ranking)))


def widened(value, draws, left_out, sizes):
    """The furthest ends of the percentiles of draws, Student's t interval, and Wilson's at the effective number of items."""
    low, high = np.percentile(draws, [2.5, 97.5])
    units = sizes.sum() ** 2 / (sizes**2).sum()
    bootstrap = np.var(draws) * units / (units - 1)
    spread = np.sqrt(max(bootstrap, np.var(left_out) * (len(left_out) - 1)))
    t = scipy.stats.t.ppf(0.975, units - 1)
    if value in (0, 1):
        n, t_wilson = units, scipy.stats.norm.ppf(0.975)
    else:
        n, t_wilson = value * (1 - value) / spread**2, t
    centre = value + t_wilson**2 / (2 * n)
    half = t_wilson * np.sqrt(value * (1 - value) / n + t_wilson**2 / (4 * n**2))
    ends = [low, high, value - t * spread, value + t * spread]
    ends += [(centre - half) / (1 + t_wilson**2 / n), (centre + half) / (1 + t_wilson**2 / n)]
    return [max(0.0, float(min(ends))), min(1.0, float(max(ends)))]


def bootstrap_f1(targets, predicted, groups, rng):
    """Interval of macro F1, drawing groups with replacement. Counts only, so that 20,000 draws are quick."""
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    classes = int(max(targets.max(), predicted.max())) + 1
    matrices = np.stack(
        [confusion_matrix(targets[m], predicted[m], labels=np.arange(classes)) for m in members]
    )

    def macro_f1(matrix):
        true, guessed, correct = matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)
        both = true + guessed
        f1 = np.divide(2 * correct, both, out=np.zeros(classes), where=both > 0)
        return f1[true > 0].mean()

    draws = [
        macro_f1(matrices[rng.integers(0, len(members), len(members))].sum(axis=0)) for _ in range(BOOTSTRAP_DRAWS)
    ]
    left_out = [macro_f1(np.delete(matrices, unit, axis=0).sum(axis=0)) for unit in range(len(members))]
    sizes = np.array([len(m) for m in members])
    return widened(macro(targets, predicted, classes)[2], draws, left_out, sizes)


def case(name, seed, items, classes, skill, truth, groups):
    """One random set. `truth`: the classes that occur in it; `groups`: number of groups."""
    rng = np.random.default_rng(seed)
    group_of = rng.integers(0, groups, items)
    targets = rng.choice(truth, items)
    if "single_class_groups" in name:
        targets = np.asarray(truth)[group_of % len(truth)]
    scores = rng.integers(0, 12, (items, classes))
    scores[np.arange(items), targets] += rng.integers(0, skill + 1, items)
    train_counts = rng.integers(0, 40, classes)
    predicted = scores.argmax(axis=1)  # the first of equal scores

    dummy = DummyClassifier(strategy="most_frequent")
    labels = np.repeat(np.arange(classes), train_counts)
    constant = dummy.fit(np.zeros((len(labels), 1)), labels).predict(np.zeros((items, 1)))
    constant_top5_value = 1.0 if classes <= 5 else constant_top5(targets, train_counts)

    every = np.arange(classes)
    precision, recall, f1, _ = precision_recall_fscore_support(
        targets, predicted, labels=every, zero_division=0
    )
    correct = int(np.sum(targets == predicted))
    wilson = scipy.stats.binomtest(correct, items).proportion_ci(method="wilson")
    expected = figures(targets, predicted, top_k(targets, scores / 16, 5), classes)
    expected |= ranked(targets, scores)
    with np.errstate(all="ignore"):
        assert np.isclose(expected["mean_class_accuracy"], balanced_accuracy_score(targets, predicted))
    return {
        "origin": "reference/eval_golden.py",
        "versions": {
            "scikit-learn": sklearn.__version__,
            "torchmetrics": torchmetrics.__version__,
            "scipy": scipy.__version__,
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "train_counts": train_counts.tolist(),
        "targets": targets.tolist(),
        "groups": group_of.tolist(),
        "scores_in_sixteenths": scores.tolist(),
        "figures": expected,
        "baselines": baselines(targets, constant, constant_top5_value, train_counts, classes),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "confusion": confusion_matrix(targets, predicted, labels=every).tolist(),
        "top1_wilson": [wilson.low, wilson.high],
        "macro_f1_bootstrap": bootstrap_f1(targets, predicted, group_of, rng),
    }


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    cases = {
        "two_classes": dict(items=90, classes=2, skill=8, truth=[0, 1], groups=15),
        "ties": dict(items=120, classes=7, skill=6, truth=list(range(7)), groups=20),
        "missing_classes": dict(items=100, classes=9, skill=9, truth=[0, 3, 4, 8], groups=12),
        "single_class_groups": dict(items=110, classes=6, skill=8, truth=list(range(6)), groups=18),
        "one_class": dict(items=40, classes=4, skill=10, truth=[2], groups=8),
        "many_classes": dict(items=160, classes=20, skill=12, truth=list(range(17)), groups=40),
    }
    for seed, (name, options) in enumerate(cases.items()):
        text = json.dumps(case(name, seed, **options), separators=(",", ":")).replace('],"', '],\n"')
        (OUT / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
