"""Shows that PyTorch and Marey train and judge alike: same weights, same batches, loss and gradient step by step.

    cargo run --release -p marey-train --example write_batches -- recipes/cctv.toml 1 runs/batches \\
      train.epochs=1 schedule.warmup_epochs=0.5
    python reference/compare_steps.py init recipes/cctv.toml runs/init.pth --classes 4
    marey train recipes/cctv.toml --set name=steps --set train.epochs=1 --set schedule.warmup_epochs=0.5 \\
      --set 'model.weights="runs/init.pth"'
    python reference/compare_steps.py steps recipes/cctv.toml runs/batches runs/init.pth runs/steps-1 \\
      --set train.epochs=1 --set schedule.warmup_epochs=0.5
    python reference/compare_steps.py scores recipes/cctv.toml runs/steps-1

`steps` trains PyTorch twice, in two memory layouts that differ by rounding only, and prints how far Marey and the second
layout part from the first. Rounding grows from step to step; what Marey does otherwise (a schedule, a loss, a decay, a
clipping, a statistic of the batch norm) would show at the step where it acts, beyond what the layouts differ by.
`scores` gives the weights of Marey's bundle and the clips of `clips.py` to PyTorch, and compares with Marey's scores of
the same items: what decoding, the choice of frames, resizing and judging differ by.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from clips import Clips, read_manifest
from train import Trainer, build_model, class_weights, read_recipe


class Epoch(list):
    """The batches of an epoch, as `Trainer.epoch` takes them: with the data set whose length it asks for."""

    def __init__(self, batches, num_items):
        super().__init__(batches)
        self.dataset = range(num_items)


class Batches:
    """What `write_batches` wrote: pixels `u8 [b, 3, t, h, w]` with their targets."""

    def __init__(self, folder):
        about = json.loads((folder / "batches.json").read_text())
        self.classes, self.counts = about["classes"], np.array(about["class_counts"])
        clips = np.fromfile(folder / "pixels.u8", dtype=np.uint8).reshape(-1, *about["dims"])
        self.batches, first = [], 0
        for batch in about["batches"]:
            pixels = torch.from_numpy(clips[first : first + len(batch["targets"])]).permute(0, 4, 1, 2, 3)
            self.batches.append((pixels, torch.tensor(batch["targets"])))
            first += len(batch["targets"])

    def epochs(self, batch):
        """One [`Epoch`] after the other; `batch` is the recipe's."""
        num_items = int(self.counts.sum())
        num_batches = -(-num_items // batch)
        if len(self.batches) % num_batches:
            raise SystemExit(f"{len(self.batches)} batches are no whole epochs of {num_batches}: was train.batch another?")
        for first in range(0, len(self.batches), num_batches):
            yield Epoch(self.batches[first : first + num_batches], num_items)


def pytorch_steps(recipe, batches, weights, layout):
    trainer = Trainer(recipe, batches.classes, layout)
    trainer.model.load_state_dict(torch.load(weights, weights_only=True))
    weight = class_weights(recipe["loss"], batches.counts)
    for epoch in batches.epochs(recipe["train"]["batch"]):
        trainer.epoch(epoch, weight)
    return trainer.steps


def compare_steps(recipe, batches, weights, run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    marey = [line for line in lines if line["kind"] == "step"]
    pytorch = pytorch_steps(recipe, batches, weights, "contiguous")
    other = pytorch_steps(recipe, batches, weights, "channels-last")
    if len(marey) != len(pytorch):
        raise SystemExit(f"{run} has {len(marey)} steps, PyTorch made {len(pytorch)}: do train.epochs differ?")
    print("relative difference to PyTorch, contiguous, of Marey and of PyTorch, channels last")
    print("step  loss      Marey    layout   gradient  Marey    layout   rate, Marey")
    difference = lambda a, b, key: abs(a[key] - b[key]) / abs(b[key]) if b[key] else abs(a[key])  # noqa: E731
    for one, reference, second in zip(marey, pytorch, other):
        print(f"{reference['step']:4d}", end="")
        for key in ("loss", "grad_norm"):
            ours, layout = difference(one, reference, key), difference(second, reference, key)
            print(f"  {reference[key]:.6f}  {ours:.1e}  {layout:.1e}", end="")
        print(f"  {difference(one, reference, 'lr'):.1e}")


@torch.inference_mode()
def compare_scores(recipe, manifest, run):
    classes, items = read_manifest(manifest, recipe["data"])
    by_id = {str(Path(item.path).relative_to(Path(manifest).parent)): item for item in items}
    with open(run / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    marey = np.array([[float(row[f"score_{name}"]) for name in classes] for row in rows])
    trainer = Trainer(recipe, classes, "contiguous")
    weights = load_file(run / "bundle" / "model.safetensors")
    # Marey's convolution weights are channels last: [o, t, h, w, i].
    weights = {name: value.movedim(-1, 1) if value.ndim == 5 else value for name, value in weights.items()}
    missing = trainer.model.load_state_dict(weights, strict=False).missing_keys
    if missing := [name for name in missing if not name.endswith("num_batches_tracked")]:
        raise SystemExit(f"{run} lacks {missing}")
    clips = Clips([by_id[row["item"]] for row in rows], recipe, None, training=False)
    scores = trainer.scores(DataLoader(clips, batch_size=8), recipe["sampling"]["views"])
    agree = (scores.argmax(1) == marey.argmax(1)).sum()
    print(f"{len(rows)} items: largest difference of a score {np.abs(scores - marey).max():.1e}, {agree} classes alike")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="write PyTorch's initial weights")
    steps = commands.add_parser("steps", help="train on the batches and compare")
    scores = commands.add_parser("scores", help="judge with Marey's weights and compare")
    for command in (init, steps, scores):
        command.add_argument("recipe")
        command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
        command.add_argument("--threads", type=int, default=2)
    init.add_argument("weights")
    init.add_argument("--classes", type=int, required=True)
    steps.add_argument("batches", type=Path)
    steps.add_argument("weights")
    for command in (steps, scores):
        command.add_argument("run", type=Path, help="Marey's run folder")
    scores.add_argument("--manifest", help="CSV with path, label, split (default: data.path of the recipe)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe = read_recipe(args.recipe, args.set)
    if args.command == "init":
        torch.manual_seed(recipe["train"]["seed"])
        torch.save(build_model(recipe["model"], args.classes).state_dict(), args.weights)
    elif args.command == "steps":
        compare_steps(recipe, Batches(args.batches), args.weights, args.run)
    else:
        compare_scores(recipe, args.manifest or recipe["data"]["path"], args.run)


if __name__ == "__main__":
    main()
