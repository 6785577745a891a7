"""Training steps and inference of whole models on a GPU: Marey beside PyTorch, on random clips.

    cargo build --release --features cuda
    python reference/bench_gpu.py

The work, and how it is timed, are those of `bench_step.py`. All of PyTorch runs in this process, with contiguous tensors
and with channels last, bf16 by autocast, TF32 allowed in convolutions (its default); its faster row counts. Marey is a
process for each measurement, which warms up before it starts its clock. Rounds take turns; the table has medians.
"""

import argparse
import os
import statistics
import sys
import time

import torch

import bench_step
from bench_step import CHANNELS_LAST, CONTIGUOUS, WORKS

FORMS = (CONTIGUOUS, CHANNELS_LAST)


def marey(work, args):
    started = time.perf_counter()
    try:
        answer = bench_step.run_marey(work, args)
    except RuntimeError as error:
        print(f"{work}: {error}", file=sys.stderr, flush=True)
        return None, None
    return answer["ms"], time.perf_counter() - started


def pytorch(work, form, args):
    repeats = args.steps if work.kind == "step" else args.clips
    task = {"arch": work.arch, "kind": work.kind, "precision": work.precision, "form": form, "repeats": repeats}
    task |= {"threads": args.threads, "device": "cuda"}
    ms = bench_step.time_step(task) if work.kind == "step" else bench_step.time_inference(task)
    torch.cuda.empty_cache()
    return ms


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--marey", default="target/release/marey")
    parser.add_argument("--archs", nargs="+", default=["r3d_18", "efficientnet_b0"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    args.device = "cuda"
    works = [work for work in WORKS if work.arch in args.archs]
    times = {}
    for _ in range(args.rounds):
        for work in works:
            ms, seconds = marey(work, args)
            if ms is not None:
                times.setdefault((work, "Marey"), []).append(ms)
                times.setdefault((work, "seconds"), []).append(seconds)
            for form in FORMS:
                times.setdefault((work, form), []).append(pytorch(work, form, args))
            print(work, {name: values for (of, name), values in times.items() if of == work}, file=sys.stderr, flush=True)
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}\n")
    print("| work | Marey, ms | PyTorch, ms | ratio | seconds of the first process |")
    print("|---|---|---|---|---|")
    for work in works:
        form = min(FORMS, key=lambda form: statistics.median(times[work, form]))
        theirs = statistics.median(times[work, form])
        if (work, "Marey") not in times:
            print(f"| {work} | failed | {theirs:.2f} ({form}) | | |")
            continue
        ours = statistics.median(times[work, "Marey"])
        first = times[work, "seconds"][0]
        print(f"| {work} | {ours:.2f} | {theirs:.2f} ({form}) | **{theirs / ours:.2f}** | {first:.0f} |")


if __name__ == "__main__":
    main()
