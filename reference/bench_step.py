"""Time of one training step: Marey beside PyTorch, on random clips.

    cargo build --release
    python reference/bench_step.py --out docs/performance/step.md

A step is forward, cross-entropy, backward and AdamW. PyTorch runs once with contiguous tensors and once with channels
last, and its faster one counts; its allocator is told to keep its pages, as Marey's does by itself. A round times each program once, one after another, so that all of them meet the same
load; the table gives medians over rounds of each program's median step.
On a GPU: `--device cuda`, with `--autocast` for a further row in bf16.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from bench_loader import cpu_name
from train import KEYS, build_model

# Read by the C library when a process starts. Fresh pages would cost PyTorch 10 to 20 % of a step on a CPU.
KEEP_PAGES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "8589934592", "MALLOC_TOP_PAD_": "268435456"}
ARCHITECTURES = ("r3d_18", "efficientnet_b0_bilstm")


def layout_of(name, channels_last):
    if not channels_last:
        return torch.contiguous_format
    return torch.channels_last_3d if name == "r3d_18" else torch.channels_last


def time_pytorch(arch, args, channels_last, autocast=False):
    """Median milliseconds of a step, after two that warm up."""
    torch.manual_seed(0)
    device = torch.device(args.device)
    model = build_model({**KEYS["model"], "arch": arch}, args.classes).to(device).train()
    model = model.to(memory_format=layout_of(arch, channels_last))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    clips = torch.randn(args.batch, 3, args.frames, args.size, args.size, device=device)
    if channels_last:
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
    targets = torch.arange(args.batch, device=device) % args.classes
    times = []
    for _ in range(args.steps + 2):
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            loss = F.cross_entropy(model(clips), targets)
        loss.backward()
        optimizer.step()
        loss.item()  # Waits for the device.
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[2:])


def time_marey(arch, args):
    command = [args.marey, "bench", "step", "--arch", arch, "--batch", str(args.batch), "--frames", str(args.frames)]
    command += ["--size", str(args.size), "--json"]
    command += [] if args.device == "cpu" else ["--device", args.device]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)["step_ms"]


def table(args, times):
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    where = f"{args.threads} threads of {os.cpu_count()} cores of {cpu_name()}"
    if args.device != "cpu":
        where = torch.cuda.get_device_name()
    lines = [
        f"Batch {args.batch}, {args.frames} frames, {args.size}x{args.size}, {where}; commit {revision}, "
        f"PyTorch {torch.__version__}.",
        f"Medians of {args.rounds} interleaved rounds of {args.steps} steps, lowest and highest round in brackets.",
        "The ratio is to PyTorch's fastest f32 row: above 1 is slower than PyTorch.",
        "",
        "| architecture | program | step, ms | ratio |",
        "|---|---|---|---|",
    ]
    median = {key: statistics.median(values) for key, values in times.items()}
    for (arch, name), values in times.items():
        peers = [ms for (a, n), ms in median.items() if a == arch and n.startswith("PyTorch, c")]
        ms = median[arch, name]
        lines.append(f"| {arch} | {name} | {ms:.0f} ({min(values):.0f}–{max(values):.0f}) | {ms / min(peers):.2f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", action="append", choices=ARCHITECTURES, help="(default: all)")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--autocast", action="store_true", help="also time bf16 autocast")
    parser.add_argument("--marey", default="target/release/marey")
    parser.add_argument("--skip-marey", action="store_true", help="time PyTorch alone")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    if not KEEP_PAGES.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_PAGES})
    torch.set_num_threads(args.threads)
    rows = {}
    for arch in args.arch or ARCHITECTURES:
        rows[arch, "PyTorch, contiguous"] = lambda a=arch: time_pytorch(a, args, channels_last=False)
        rows[arch, "PyTorch, channels last"] = lambda a=arch: time_pytorch(a, args, channels_last=True)
        if args.autocast:
            rows[arch, "PyTorch, bf16 autocast"] = lambda a=arch: time_pytorch(a, args, True, autocast=True)
        if not args.skip_marey:
            rows[arch, "Marey"] = lambda a=arch: time_marey(a, args)
    times = {key: [] for key in rows}
    for number in range(args.rounds):
        for key, measure in rows.items():
            times[key].append(measure())
            print(f"round {number + 1}: {key[0]}, {key[1]}: {times[key][-1]:.0f} ms", flush=True)
    text = table(args, times)
    print("\n" + text, end="")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)


if __name__ == "__main__":
    main()
