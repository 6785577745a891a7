"""Time of what follows the gradients of R3D-18: Marey beside PyTorch.

    cargo build --release
    python reference/bench_optimizer.py

PyTorch runs `clip_grad_norm_` (for the norm that Marey's loop always takes) and AdamW, in its fused form and in its
default one, on the parameters of torchvision's R3D-18 with random gradients. Marey is asked by `marey bench step`, which
times norm and update apart. A round runs each program once; the table gives medians over rounds, lowest and highest in
brackets. With `--other PROGRAM` a second build of Marey is timed beside the first.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch

from bench_loader import cpu_name
from bench_step import KEEP_PAGES
from train import KEYS, build_model


def time_pytorch(args, **form):
    torch.manual_seed(0)
    model = build_model({**KEYS["model"], "arch": "r3d_18"}, 4)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, **form)
    norms, updates = [], []
    for _ in range(args.steps + 2):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter) * 0.01
        start = time.perf_counter()
        # A limit that no norm reaches: the gradients are left as they are.
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9).item()
        middle = time.perf_counter()
        optimizer.step()
        end = time.perf_counter()
        norms.append(1000 * (middle - start))
        updates.append(1000 * (end - middle))
    return statistics.median(norms[2:]) + statistics.median(updates[2:]), statistics.median(updates[2:])


def time_marey(program, args):
    command = [program, "bench", "step", "--batch", "1", "--frames", "2", "--size", "32", "--json"]
    output = subprocess.run(command + ["--steps", str(args.steps)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)["update_ms"], None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--marey", default="target/release/marey")
    parser.add_argument("--other", help="a second Marey")
    args = parser.parse_args()

    if not KEEP_PAGES.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_PAGES})
    torch.set_num_threads(args.threads)
    rows = {
        "PyTorch, AdamW(fused=True)": lambda: time_pytorch(args, fused=True),
        "PyTorch, AdamW, default": lambda: time_pytorch(args),
        "Marey": lambda: time_marey(args.marey, args),
    }
    if args.other:
        rows[f"Marey, {args.other}"] = lambda: time_marey(args.other, args)
    times = {name: [] for name in rows}
    for _ in range(args.rounds):
        for name, measure in rows.items():
            times[name].append(measure())
    print(f"R3D-18, 33.17 M parameters; {args.threads} threads of {os.cpu_count()} cores of {cpu_name()}; "
          f"PyTorch {torch.__version__}.\n")
    print("| program | norm and update, ms | update alone, ms |\n|---|---|---|")
    for name, values in times.items():
        both, update = zip(*values)
        alone = "" if update[0] is None else f"{statistics.median(update):.0f} ({min(update):.0f}–{max(update):.0f})"
        print(f"| {name} | {statistics.median(both):.0f} ({min(both):.0f}–{max(both):.0f}) | {alone} |")


if __name__ == "__main__":
    main()
