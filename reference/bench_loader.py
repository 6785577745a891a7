"""Clips per second into a training loop: Marey beside PyTorch's DataLoader over PyAV and over decord.

    cargo build --release
    python reference/bench_loader.py ../shared/data/cctv_clips --clips 200 --out docs/performance/loader.md

Every program makes one epoch over the same clips, shuffled: one random frame from each of `--frames` equal segments,
stretched to `--size`, in batches of 8. Starting the programs and their workers is not timed. A round times each program
once, one after another, so that all of them meet the same load; the table gives medians over rounds and the ratio to
the fastest PyTorch row with as many workers. With `--packed STORE` it times a packed store too, and makes it first
where it does not exist.
"""

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import time
from pathlib import Path

import av
import decord
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from machine import cpu_name, revision

BATCH = 8


def positions(num, frames):
    """A random frame of each of `frames` equal segments, as `sampling.mode = "uniform"` takes it in training."""
    bounds = [num * i // frames for i in range(frames + 1)]
    return [random.randrange(a, max(b, a + 1)) for a, b in zip(bounds, bounds[1:])]


class PyAvClips(Dataset):
    """PyAV in its fastest form: one decoder thread, swscale converts and scales the wanted frames in one go."""

    def __init__(self, paths, frames, size):
        self.paths, self.frames, self.size = paths, frames, size

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, number):
        with av.open(self.paths[number]) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            num = stream.frames or sum(packet.pts is not None for packet in container.demux(stream))
            wanted, found = positions(num, self.frames), []
            container.seek(0)
            for position, frame in enumerate(container.decode(stream)):
                if position in wanted:
                    picture = frame.reformat(self.size, self.size, format="rgb24", interpolation="BILINEAR")
                    found += [picture.to_ndarray()] * wanted.count(position)
                    if position == wanted[-1]:
                        break
        return torch.from_numpy(np.stack(found))


class DecordClips(PyAvClips):
    """decord, which scales while it decodes and skips what it can between the wanted frames."""

    def __getitem__(self, number):
        reader = decord.VideoReader(self.paths[number], num_threads=1, width=self.size, height=self.size)
        return torch.from_numpy(reader.get_batch(positions(len(reader), self.frames)).asnumpy())


class Order(Sampler):
    """The items of the next epoch, which may be set between epochs."""

    def __init__(self):
        self.items = []

    def __iter__(self):
        return iter(self.items)

    def __len__(self):
        return len(self.items)


def one_thread(_):
    torch.set_num_threads(1)


def time_pytorch(dataset, workers):
    """Clips per second of an epoch, after a short one that starts the workers."""
    order = Order()
    loader = DataLoader(
        dataset,
        BATCH,
        sampler=order,
        num_workers=workers,
        prefetch_factor=2,
        persistent_workers=True,
        worker_init_fn=one_thread,
    )
    order.items = list(range(min(workers, len(dataset))))
    for _ in loader:
        pass
    order.items = torch.randperm(len(dataset)).tolist()
    start = time.perf_counter()
    clips = sum(len(batch) for batch in loader)
    assert clips == len(dataset)
    return clips / (time.perf_counter() - start)


def time_marey(args, workers, packed):
    command = [args.marey, "bench", "loader", "--data", str(args.data / "clips.csv"), "--frames", str(args.frames)]
    command += ["--size", str(args.size), "--clips", str(args.clips), "--workers", str(workers), "--json"]
    command += ["--packed", args.packed] if packed else []
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)["clips_per_s"]


def table(args, rates):
    lines = [
        f"{args.clips} clips, {args.frames} frames each, {args.size}x{args.size}; {os.cpu_count()} cores of {cpu_name()}; "
        f"commit {revision()}.",
        f"PyAV {av.__version__}, decord {decord.__version__}, PyTorch {torch.__version__}.",
        f"Medians of {args.rounds} interleaved rounds, lowest and highest in brackets.",
        "",
        "| program | workers | clips/s | to the fastest PyTorch |",
        "|---|---|---|---|",
    ]
    median = {key: statistics.median(values) for key, values in rates.items()}
    for (name, workers), values in rates.items():
        best = max(rate for (other, w), rate in median.items() if w == workers and "Marey" not in other)
        lines.append(
            f"| {name} | {workers} | {median[name, workers]:.1f} ({min(values):.1f}–{max(values):.1f}) "
            f"| {median[name, workers] / best:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with clips.csv (a column `path`)")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--packed", help="a packed store of the same data")
    parser.add_argument("--marey", default="target/release/marey")
    parser.add_argument("--skip-marey", action="store_true", help="time PyTorch alone")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    torch.set_num_threads(1)
    with open(args.data / "clips.csv", newline="") as file:
        paths = [str(args.data / row["path"]) for row in csv.DictReader(file)][: args.clips]
    for path in paths:
        Path(path).read_bytes()  # Every program finds the files in the page cache.
    rows = {}
    for workers in (1, 2):
        rows["DataLoader + PyAV", workers] = lambda w=workers: time_pytorch(PyAvClips(paths, args.frames, args.size), w)
        rows["DataLoader + decord", workers] = lambda w=workers: time_pytorch(
            DecordClips(paths, args.frames, args.size), w
        )
        if not args.skip_marey:
            rows["Marey, files", workers] = lambda w=workers: time_marey(args, w, packed=False)
            if args.packed:
                rows["Marey, packed", workers] = lambda w=workers: time_marey(args, w, packed=True)
    rates = {key: [] for key in rows}
    for number in range(args.rounds):
        for key, measure in rows.items():
            rates[key].append(measure())
            print(f"round {number + 1}: {key[0]}, {key[1]} workers: {rates[key][-1]:.1f} clips/s", flush=True)
    text = table(args, rates)
    print("\n" + text, end="")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)


if __name__ == "__main__":
    main()
