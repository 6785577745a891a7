"""Trains a Marey recipe in PyTorch: the other side of the comparisons in docs/results/.

    python reference/train.py recipes/cctv.toml --manifest ../shared/data/cctv_clips/clips.csv --out runs/pytorch-cctv

It reads the same TOML and does the same: the same items and splits (from a CSV manifest with a `split` column, as
`marey data split` writes it), the same sampled frames, torchvision's transforms, whose semantics Marey's transforms
follow, and the same optimiser, schedule and loss. Random draws differ. What it does not know is an error.

Prints one line an epoch; writes `result.json` to `--out`, and prints it.
"""

import argparse
import json
import math
import multiprocessing
import os
import resource
import threading
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models

from clips import Clips, Store, read_manifest

KINETICS_MEAN, KINETICS_STD = [0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989]

# Keys of a recipe that this script understands, with their defaults; `...` means required.
KEYS = {
    "sampling": {"mode": ..., "frames": ..., "step": 1, "views": 1},
    "preprocess": {"size": ..., "resize": "short_side", "short_side": None, "mean": KINETICS_MEAN, "std": KINETICS_STD},
    "augment": {
        "random_resized_crop": None,
        "random_crop": False,
        "flip": 0.0,
        "color_jitter": None,
        "random_erasing": None,
    },
    "model": {"arch": ..., "width": None, "temporal": None, "dropout": None, "drop_path": None, "weights": None, "head": "load"},
    "loss": {"label_smoothing": 0.0, "class_weights": "none"},
    "optimizer": {"kind": ..., "lr": ..., "weight_decay": None, "momentum": 0.9, "betas": [0.9, 0.999]},
    "schedule": {"kind": "cosine", "warmup_epochs": 0.0, "min_lr": 0.0},
    "train": {
        "epochs": ...,
        "batch": ...,
        "accumulate": 1,
        "clip_norm": None,
        "seed": 0,
        "workers": 2,
        "prefetch": 2,
        "select": None,
        "monitor": "macro_f1",
        "patience": None,
        "min_delta": 0.0,
        # How often Marey writes; nothing here depends on them.
        "checkpoint_steps": None,
        "keep_every_epochs": None,
        "log_steps": 1,
    },
}


# The recipe


def read_recipe(path, changes):
    """The recipe's sections with defaults filled in, after `changes` such as `train.epochs=3`."""
    recipe = tomllib.loads(Path(path).read_text())
    for change in changes:
        dotted, value = change.split("=", 1)
        section, key = dotted.split(".", 1)
        try:
            value = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            pass  # As in `marey --set`: what is no TOML is a string.
        recipe.setdefault(section, {})[key] = value
    if recipe.get("task", {}).get("kind", "classify") != "classify":
        raise SystemExit("only task.kind = \"classify\" is written here")
    for section, keys in KEYS.items():
        given = recipe.get(section, {})
        if unknown := set(given) - set(keys):
            raise SystemExit(f"[{section}] has keys unknown to this script: {sorted(unknown)}")
        if missing := [key for key, default in keys.items() if default is ... and key not in given]:
            raise SystemExit(f"[{section}] lacks {missing}")
        recipe[section] = {**keys, **given}
    return recipe


# Models: input `f32 [b, 3, t, h, w]`, output logits `[b, k]`


class EfficientNetBilstm(nn.Module):
    """EfficientNet-B0 on each frame, a bidirectional LSTM, additive attention over time, a projection."""

    def __init__(self, num_classes, dropout=0.3, drop_path=0.0):
        super().__init__()
        backbone = models.efficientnet_b0(stochastic_depth_prob=drop_path)
        self.features, self.pool, self.dropout = backbone.features, backbone.avgpool, nn.Dropout(dropout)
        self.lstm = nn.LSTM(1280, 256, num_layers=2, batch_first=True, bidirectional=True, dropout=dropout)
        self.attention = nn.Sequential(nn.Linear(512, 256), nn.Tanh(), nn.Linear(256, 1))
        self.projection = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.BatchNorm1d(512))
        self.classifier = nn.Linear(512, num_classes)

    def forward(self, clips):
        b, c, t, h, w = clips.shape
        frames = clips.transpose(1, 2).reshape(b * t, c, h, w)
        if clips.is_contiguous(memory_format=torch.channels_last_3d):
            frames = frames.contiguous(memory_format=torch.channels_last)
        feature = self.dropout(self.pool(self.features(frames)).flatten(1)).view(b, t, -1)
        states, _ = self.lstm(feature)
        clip = (states * self.attention(states).softmax(dim=1)).sum(dim=1)
        return self.classifier(self.dropout(self.projection(clip)))


def build_model(config, num_classes):
    given = {key: config[key] for key in ("dropout", "drop_path") if config[key] is not None}
    if (config["arch"], config["temporal"]) == ("efficientnet_b0", "bilstm") and not config["weights"]:
        return EfficientNetBilstm(num_classes, **given)
    if config["arch"] != "r3d_18":
        raise SystemExit(f"model.arch = {config['arch']!r}, or its weights, are not written here")
    model = r3d_18(num_classes, config["width"] or 1.0)
    if config["weights"]:
        weights = torch.load(config["weights"], map_location="cpu", weights_only=True)
        if config["head"] == "skip":
            weights |= {"fc.weight": model.fc.weight, "fc.bias": model.fc.bias}
        model.load_state_dict(weights)
    if "dropout" in given:
        model.fc = nn.Sequential(nn.Dropout(given["dropout"]), model.fc)
    return model


def r3d_18(num_classes, width):
    """torchvision's R3D-18; other widths scale its channels, as `model.width` does."""
    if width == 1.0:
        return models.video.r3d_18(num_classes=num_classes)
    resnet = models.video.resnet
    channels = [round(c * width) for c in (64, 128, 256, 512)]

    class Narrow(resnet.VideoResNet):
        def __init__(self):
            nn.Module.__init__(self)
            self.inplanes = channels[0]
            self.stem = nn.Sequential(
                nn.Conv3d(3, channels[0], (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False),
                nn.BatchNorm3d(channels[0]),
                nn.ReLU(inplace=True),
            )
            for i, c in enumerate(channels):
                layer = self._make_layer(resnet.BasicBlock, resnet.Conv3DSimple, c, 2, 1 if i == 0 else 2)
                setattr(self, f"layer{i + 1}", layer)
            self.avgpool = nn.AdaptiveAvgPool3d(1)
            self.fc = nn.Linear(channels[3], num_classes)
            for m in self.modules():
                if isinstance(m, nn.Conv3d):
                    nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                elif isinstance(m, nn.Linear):
                    nn.init.normal_(m.weight, 0, 0.01)
                    nn.init.zeros_(m.bias)

    return Narrow()


# Training


def build_optimizer(config, model):
    if config["kind"] == "adamw":
        decay = 0.01 if config["weight_decay"] is None else config["weight_decay"]
        return torch.optim.AdamW(model.parameters(), config["lr"], betas=config["betas"], weight_decay=decay)
    decay = config["weight_decay"] or 0.0
    return torch.optim.SGD(model.parameters(), config["lr"], momentum=config["momentum"], weight_decay=decay)


def class_weights(config, counts):
    """One weight a class for the loss, from the training split's counts; `None` when all are 1."""
    if config["class_weights"] == "none":
        return None
    return torch.tensor(ratio(counts.sum() / len(counts) * np.ones(len(counts)), counts), dtype=torch.float32)


def learning_rate(recipe, step, steps_per_epoch, num_steps):
    """crates/marey-train/src/schedule.rs, optimiser step `step` counted from 0."""
    schedule, peak = recipe["schedule"], recipe["optimizer"]["lr"]
    warmup = math.floor(schedule["warmup_epochs"] * steps_per_epoch + 0.5)
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule["kind"] == "constant":
        return peak
    last = max(num_steps - 1, warmup + 1)
    done = min((step - warmup) / (last - warmup), 1.0)
    return schedule["min_lr"] + (peak - schedule["min_lr"]) * 0.5 * (1 + math.cos(math.pi * done))


LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last_3d}


def fastest_layout(recipe, classes, threads):
    """The layout with the fastest step of three, the two timed in turn on random clips: it depends on clip and machine."""
    torch.set_num_threads(threads)
    config, size = recipe["train"], recipe["preprocess"]["size"]
    trainers = {name: Trainer(recipe, classes, name) for name in LAYOUTS}
    pixels = torch.randint(0, 256, (config["batch"], 3, recipe["sampling"]["frames"], *size), dtype=torch.uint8)
    times = {name: [] for name in LAYOUTS}
    for _ in range(4):
        for name, trainer in trainers.items():
            start = time.perf_counter()
            trainer.model(trainer.input(pixels)).square().mean().backward()
            times[name].append(time.perf_counter() - start)
    # The first one finds memory.
    return min(LAYOUTS, key=lambda name: min(times[name][1:]))


class Trainer:
    def __init__(self, recipe, classes, layout):
        self.recipe, self.classes, self.layout = recipe, classes, LAYOUTS[layout]
        shape = (1, 3, 1, 1, 1)
        self.mean = torch.tensor(recipe["preprocess"]["mean"]).view(shape)
        self.std = torch.tensor(recipe["preprocess"]["std"]).view(shape)
        self.model = build_model(recipe["model"], len(classes))
        is_2d = recipe["model"]["arch"] == "efficientnet_b0"
        self.model.to(memory_format=torch.channels_last if is_2d and layout == "channels-last" else self.layout)
        self.optimizer = build_optimizer(recipe["optimizer"], self.model)
        self.step = 0
        # Loss, norm of the gradients before clipping, and learning rate of each optimiser step.
        self.steps = []

    def input(self, pixels):
        return ((pixels.float() / 255 - self.mean) / self.std).contiguous(memory_format=self.layout)

    def epoch(self, loader, weight):
        config = self.recipe["train"]
        accumulate = config["accumulate"]
        steps = math.ceil(len(loader) / accumulate)
        self.model.train()
        total, count, step_loss = 0.0, 0, 0.0
        for number, (pixels, targets) in enumerate(loader):
            smoothing = self.recipe["loss"]["label_smoothing"]
            loss = F.cross_entropy(self.model(self.input(pixels)), targets, weight, label_smoothing=smoothing)
            if not torch.isfinite(loss):
                raise SystemExit(f"the loss of step {self.step} is not finite")
            # Each clip of a step weighs alike; the last step of an epoch may hold fewer.
            first = number // accumulate * accumulate * config["batch"]
            in_step = min(accumulate * config["batch"], len(loader.dataset) - first)
            share = len(targets) / in_step
            (loss * share).backward()
            step_loss += loss.item() * share
            total, count = total + loss.item() * len(targets), count + len(targets)
            if (number + 1) % accumulate == 0 or number + 1 == len(loader):
                norm = nn.utils.clip_grad_norm_(self.model.parameters(), config["clip_norm"] or math.inf)
                rate = learning_rate(self.recipe, self.step, steps, steps * config["epochs"])
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                self.optimizer.step()
                self.optimizer.zero_grad()
                self.steps.append({"step": self.step, "loss": step_loss, "grad_norm": norm.item(), "lr": rate})
                self.step, step_loss = self.step + 1, 0.0
        return total / count

    @torch.inference_mode()
    def scores(self, loader, views):
        """Softmax averaged over views, `[n, k]`."""
        self.model.eval()
        scores = torch.cat([self.model(self.input(pixels)).softmax(1) for pixels, _ in loader])
        return scores.view(-1, views, scores.shape[1]).mean(1).numpy()

    def fit(self, loaders, weight, targets):
        """All epochs, or until patience ends; the curve, the best epoch, and the weights that the recipe selects."""
        config, views = self.recipe["train"], self.recipe["sampling"]["views"]
        monitor, curve, best, kept = config["monitor"], [], None, None
        sign = -1 if monitor == "loss" else 1
        selects_best = loaders["validation"] is not None and config["select"] != "last"
        for epoch in range(1, config["epochs"] + 1):
            start = time.time()
            row = {"epoch": epoch, "train_loss": self.epoch(loaders["train"], weight)}
            row["train_s"] = time.time() - start
            if loaders["validation"] is not None:
                row |= monitors(self.scores(loaders["validation"], views), targets)
            curve.append(row)
            print(json.dumps(row), flush=True)
            if selects_best and (best is None or sign * (row[monitor] - best[monitor]) > config["min_delta"]):
                best, kept = row, {name: value.clone() for name, value in self.model.state_dict().items()}
            if best and config["patience"] and epoch - best["epoch"] >= config["patience"]:
                break
        if kept:
            self.model.load_state_dict(kept)
        return curve, best


# Figures, defined as in crates/marey-eval


def ratio(numerator, denominator):
    return np.divide(numerator, denominator, out=np.zeros_like(numerator, dtype=float), where=denominator > 0)


def macro(matrix):
    """Macro precision, recall and F1 over the classes that occur as target; rows of `matrix` are targets."""
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)
    support, predicted = matrix.sum(-1), matrix.sum(-2)
    mean = lambda of: np.where(support > 0, of, 0).sum(-1) / np.maximum((support > 0).sum(-1), 1)  # noqa: E731
    return mean(ratio(hit, predicted)), mean(ratio(hit, support)), mean(ratio(2 * hit, support + predicted))


def monitors(scores, targets):
    """The validation figures that `train.monitor` may name."""
    k = scores.shape[1]
    matrix = np.zeros((k, k))
    np.add.at(matrix, (targets, scores.argmax(1)), 1)
    precision, recall, f1 = (float(value) for value in macro(matrix))
    own = scores[np.arange(len(targets)), targets]
    rank = (scores > own[:, None]).sum(1)
    return {
        "loss": float(-np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean()),
        "top1": float((rank == 0).mean()),
        "top5": float((rank < 5).mean()),
        "mean_class_accuracy": recall,
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
    }


def figures(scores, items, classes, train_counts, draws):
    """The report: macro-F1 with the group bootstrap's 95 % interval, the majority baseline, and each class."""
    targets, predicted = [item.label for item in items], scores.argmax(1)
    k = len(classes)
    names = sorted({item.group for item in items})
    by_group = np.zeros((len(names), k, k))
    for item, target, guess in zip(items, targets, predicted):
        by_group[names.index(item.group), target, guess] += 1
    matrix = by_group.sum(0)
    rng = np.random.default_rng(0)
    resampled = by_group[rng.integers(0, len(names), (draws, len(names)))].sum(1)
    hit, support, guesses = np.diagonal(matrix), matrix.sum(1), matrix.sum(0)
    majority = np.zeros_like(matrix)
    majority[:, train_counts.argmax()] = support
    per_class = zip(classes, support, ratio(hit, guesses), ratio(hit, support), ratio(2 * hit, support + guesses))
    return {
        "macro_f1": float(macro(matrix)[2]),
        "macro_f1_interval": [float(v) for v in np.percentile(macro(resampled)[2], [2.5, 97.5])],
        "macro_f1_majority": float(macro(majority)[2]),
        "top1": float(hit.sum() / len(items)),
        "top1_majority": float(np.diagonal(majority).sum() / len(items)),
        "items": len(items),
        "groups": len(names),
        "per_class": {
            name: {"support": int(n), "precision": float(p), "recall": float(r), "f1": float(f)}
            for name, n, p, r, f in per_class
        },
        "confusion": matrix.astype(int).tolist(),
    }


class PeakMemory(threading.Thread):
    """Samples, once a second, the memory of this process and its workers together; shared pages count once."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak_bytes = 0

    def run(self):
        while True:
            self.peak_bytes = max(self.peak_bytes, self.tree(os.getpid()))
            time.sleep(1)

    def tree(self, pid):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            own = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
            return own + sum(self.tree(child) for task in tasks for child in (task / "children").read_text().split())
        except OSError:
            return 0  # The process ended between two reads.


def one_thread(_):
    """A worker computes on one thread: the cores belong to the model."""
    torch.set_num_threads(1)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--manifest", help="CSV with path, label, split (default: data.path of the recipe)")
    parser.add_argument("--out", required=True, help="folder for result.json")
    parser.add_argument("--cache", help="decode once into this memory-mapped file, or use the one that is there")
    parser.add_argument("--layout", choices=[*LAYOUTS, "fastest"], default="fastest", help="(default: the faster one)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    return parser.parse_args()


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    recipe = read_recipe(args.recipe, args.set)
    config = recipe["train"]
    manifest = args.manifest or recipe["data"]["path"]
    layout = args.layout
    if layout == "fastest":
        # In a process of its own, before the clock starts: neither its time nor its memory counts.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            layout = pool.apply(fastest_layout, (recipe, read_manifest(manifest, recipe["data"])[0], args.threads))
    memory = PeakMemory()
    memory.start()
    began = time.time()
    torch.manual_seed(config["seed"])
    classes, items = read_manifest(manifest, recipe["data"])
    splits = {name: [item for item in items if item.split == name] for name in ("train", "validation", "test")}
    judged = "test" if splits["test"] else "validation"
    store = Store(args.cache, items, recipe["preprocess"]) if args.cache else None
    prepared = time.time()

    def loader(name):
        if not splits[name]:
            return None
        return DataLoader(
            Clips(splits[name], recipe, store, training=name == "train"),
            batch_size=config["batch"],
            shuffle=name == "train",
            num_workers=config["workers"],
            persistent_workers=True,
            prefetch_factor=config["prefetch"],
            worker_init_fn=one_thread,
        )

    loaders = {name: loader(name) for name in splits}
    counts = np.bincount([item.label for item in splits["train"]], minlength=len(classes))
    weight = class_weights(recipe["loss"], counts)
    trainer = Trainer(recipe, classes, layout)
    curve, best = trainer.fit(loaders, weight, np.array([item.label for item in splits["validation"]], dtype=int))
    scores = trainer.scores(loaders[judged], recipe["sampling"]["views"])
    result = {
        "program": f"PyTorch {torch.__version__}",
        "recipe": args.recipe,
        "changes": args.set,
        "layout": layout,
        "judged_split": judged,
        "epoch_chosen_on_the_judged_split": bool(best) and judged == "validation",
        "epoch": (best or curve[-1])["epoch"],
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        **figures(scores, splits[judged], classes, counts, recipe.get("eval", {}).get("bootstrap_draws", 1000)),
        "wall_s": time.time() - began,
        "prepare_s": prepared - began,
        "train_clips_per_s": len(splits["train"]) * len(curve) / sum(row["train_s"] for row in curve),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_bytes_with_workers": memory.peak_bytes,
        "curve": curve,
    }
    Path(args.out).mkdir(parents=True, exist_ok=True)
    (Path(args.out) / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key != "curve"}, indent=2))


if __name__ == "__main__":
    main()
