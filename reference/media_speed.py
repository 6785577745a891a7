"""Clips a second with PyAV and decord, one thread, beside `crates/marey-media/examples/clip_speed.rs`.

    python reference/media_speed.py ../shared/data/cctv_clips 100
"""

import csv
import itertools
import pathlib
import sys
import time

import av
import decord
import numpy as np


def uniform(num, t=16):
    return [(num * i // t + num * (i + 1) // t) // 2 for i in range(t)]


def dense(num, t=16, step=2):
    start = max(0, (num - ((t - 1) * step + 1)) // 2)
    return [min(num - 1, start + i * step) for i in range(t)]


def read_pyav(path, plan):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        wanted = plan(stream.frames)
        frames = {}
        for idx, frame in enumerate(itertools.islice(container.decode(stream), max(wanted) + 1)):
            if idx in wanted:
                frames[idx] = frame.to_ndarray(format="rgb24")
        return np.stack([frames[idx] for idx in wanted])


def read_decord(path, plan):
    reader = decord.VideoReader(str(path), num_threads=1)
    return reader.get_batch(plan(len(reader))).asnumpy()


def main():
    folder, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    with open(folder / "clips.csv", newline="") as file:
        files = [folder / row["path"] for row in itertools.islice(csv.DictReader(file), count)]
    for name, read in [("PyAV", read_pyav), ("decord", read_decord)]:
        for way, plan in [("uniform", uniform), ("dense, step 2", dense)]:
            start = time.perf_counter()
            for file in files:
                read(file, plan)
            print(f"{name}, 16 frames {way}: {count / (time.perf_counter() - start):.1f} clips/s")


if __name__ == "__main__":
    main()
