"""Trains recipes/cctv.toml by Marey and by PyTorch, by both splits and several seeds, and prints the table of docs/results.

    python reference/compare_seeds.py runs/seeds --marey target/release/marey --seeds 0 1 2

One run after the other, the two programs in turn, so that what else the machine does meets both. A run that is complete
in the folder is not made again. `--set` changes the recipe for both programs alike, for example to a smaller budget.
Under the table: whether the figure of each program lies in the other's interval, seed by seed, and mean and standard
deviation over the seeds.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

RECIPE = "recipes/cctv.toml"
CLIPS = "../shared/data/cctv_clips/clips.csv"
SHARES = {"validation": "0.0", "test": "0.35"}
SPLITS = {
    "authors": [],
    "location": ["data.split.by=group", *(f"data.split.{name}={share}" for name, share in SHARES.items())],
}


def setting(changes):
    return [argument for change in changes for argument in ("--set", change)]


def run_marey(args, split, seed):
    name = f"marey-{split}-{seed}"
    report = args.folder / f"{name}-1" / "report.json"
    if not report.exists():
        # A run that did not come to its report; another of its name would get another number.
        shutil.rmtree(report.parent, ignore_errors=True)
        changes = [f"name={name}", f"train.seed={seed}", f'data.packed="{args.folder}/marey.store"', *SPLITS[split], *args.set]
        subprocess.run([args.marey, "train", RECIPE, "--runs", args.folder, *setting(changes)], check=True)
    report = json.loads(report.read_text())
    figures = {figure["name"]: figure for figure in report["classification"]["figures"]}
    interval = figures["macro_f1"]["interval"]
    if interval["method"]["kind"] != "group_bootstrap":
        raise SystemExit(f"{name}: macro F1 has no interval by group")
    return {
        "macro_f1": figures["macro_f1"]["value"],
        "interval": (interval["low"], interval["high"]),
        "majority": figures["macro_f1"]["baseline"]["value"],
        "top1": figures["top1"]["value"],
        "wall_s": report["origin"]["wall_time_sec"],
        "clips_per_s": clips_per_s(args.folder / f"{name}-1"),
        "peak_bytes": report["origin"]["peak_memory_bytes"],
    }


def clips_per_s(run):
    """Median over the epochs."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return statistics.median(line["clips_per_s"] for line in lines if line["kind"] == "epoch")


def run_pytorch(args, split, seed):
    out = args.folder / f"pytorch-{split}-{seed}"
    if not (out / "result.json").exists():
        manifest = args.folder / "by-location.csv" if split == "location" else CLIPS
        command = [sys.executable, Path(__file__).with_name("train.py"), RECIPE, "--manifest", manifest, "--out", out]
        command += ["--cache", args.folder / "pytorch.cache", "--layout", args.layout]
        subprocess.run([*command, *setting([f"train.seed={seed}", *args.set])], check=True)
    result = json.loads((out / "result.json").read_text())
    items = result["train_clips_per_s"] * sum(row["train_s"] for row in result["curve"]) / len(result["curve"])
    return {
        "macro_f1": result["macro_f1"],
        "interval": tuple(result["macro_f1_interval"]),
        "majority": result["macro_f1_majority"],
        "top1": result["top1"],
        "wall_s": result["wall_s"] - result["prepare_s"],
        "clips_per_s": statistics.median(items / row["train_s"] for row in result["curve"]),
        "peak_bytes": result["peak_bytes_with_workers"],
    }


def prepare(args):
    """What all runs share: Marey's store, and the split by location for PyTorch."""
    args.folder.mkdir(parents=True, exist_ok=True)
    store, manifest = args.folder / "marey.store", args.folder / "by-location.csv"
    if not store.exists():
        subprocess.run([args.marey, "data", "pack", RECIPE, "--output", store, *setting(args.set)], check=True)
    if not manifest.exists():
        shares = [argument for name, share in SHARES.items() for argument in (f"--{name}", share)]
        command = [args.marey, "data", "split", CLIPS, "--group", "location", *shares, "--output", manifest]
        subprocess.run(command, check=True)


def row(split, seed, program, run):
    low, high = run["interval"]
    return (
        f"| {split} | {seed} | {program} | {run['macro_f1']:.1%} | {low:.1%}–{high:.1%} | {run['top1']:.1%} | "
        f"{run['majority']:.1%} | {run['wall_s']:.0f} s | {run['clips_per_s']:.1f} | {run['peak_bytes'] / 2**30:.1f} GiB |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for stores and runs")
    parser.add_argument("--marey", default="target/release/marey", help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("--layout", default="fastest", help="of PyTorch, as for train.py (default: the faster one)")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    args = parser.parse_args()
    prepare(args)
    print("| split | seed | program | macro F1 | 95 % by group | top-1 | majority | wall | clips/s | memory |", flush=True)
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    runs = {}
    for seed in args.seeds:
        for split in SPLITS:
            for program, make in (("Marey", run_marey), ("PyTorch", run_pytorch)):
                runs[split, seed, program] = make(args, split, seed)
                print(row(split, seed, program, runs[split, seed, program]), flush=True)
    for split in SPLITS:
        print()
        for seed in args.seeds:
            marey, pytorch = runs[split, seed, "Marey"], runs[split, seed, "PyTorch"]
            inside = lambda a, b: "in" if b["interval"][0] <= a["macro_f1"] <= b["interval"][1] else "outside"  # noqa: E731
            print(f"{split}, seed {seed}: Marey {inside(marey, pytorch)} PyTorch's interval, ", end="")
            print(f"PyTorch {inside(pytorch, marey)} Marey's")
        for program in ("Marey", "PyTorch"):
            values = [runs[split, seed, program]["macro_f1"] for seed in args.seeds]
            spread = f", standard deviation {statistics.stdev(values):.1%}" if len(values) > 1 else ""
            print(f"{split}, {program}: mean {statistics.mean(values):.1%}{spread}")


if __name__ == "__main__":
    main()
