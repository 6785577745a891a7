"""Copies of real clips that a near-duplicate search must find, and the judge of what it found.

make:  python reference/near_duplicates.py make ../shared/data/cctv_clips/clips.csv runs/twins
       writes the copies and `runs/twins/manifest.csv`: every original, and each copy with the columns `copy_of` and `change`;
       and `runs/twins/one-each.csv`, with one copy of each clip.
judge: marey data twins runs/twins/manifest.csv --json > runs/twins.json
       python reference/near_duplicates.py judge runs/twins/manifest.csv runs/twins.json
       prints recall for each kind of change, every pair of different footage that was reported, and the margin.

The clips, and where each crop and cut lies, are drawn from a fixed seed.
"""

import argparse
import csv
import json
import os
import random
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

KEEP = 0.8

# Name: codec, file ending, options of the encoder, then what is done to the pictures before.
CHANGES = {
    "h264-low-bitrate": ("libx264", "mp4", {"crf": "36", "preset": "veryfast"}, {}),
    "hevc": ("libx265", "mp4", {"crf": "32", "preset": "ultrafast", "x265-params": "log-level=error"}, {}),
    "vp9": ("libvpx-vp9", "webm", {"crf": "40", "b:v": "0", "deadline": "realtime", "cpu-used": "8"}, {}),
    "mpeg4": ("mpeg4", "avi", {"qmin": "6", "qmax": "6"}, {}),
    "mjpeg-half-size": ("mjpeg", "avi", {"qmin": "8", "qmax": "8"}, {"scale": 0.5}),
    "crop": ("libx264", "mp4", {"crf": "26", "preset": "veryfast"}, {"crop": True}),
    "mirror": ("libx264", "mp4", {"crf": "26", "preset": "veryfast"}, {"mirror": True}),
    "crop-mirror-low-bitrate": ("libx264", "mp4", {"crf": "34", "preset": "veryfast"}, {"crop": True, "mirror": True}),
    "cut": ("libx264", "mp4", {"crf": "28", "preset": "veryfast"}, {"cut": True}),
    "brighter-half-rate": ("libx264", "mp4", {"crf": "28", "preset": "veryfast"}, {"gain": 1.2, "every": 2}),
    "all-at-once": ("mjpeg", "avi", {"qmin": "6", "qmax": "6"}, {"crop": True, "mirror": True, "cut": True, "scale": 0.75}),
}


def read_frames(path):
    """All frames `u8 [n, h, w, 3]` and their rate."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    return np.stack(frames), rate


def changed(frames, rate, what, rng):
    """The pictures of a copy, their rate, and the change in numbers."""
    note = {}
    if what.get("cut"):
        # Half to nine tenths of the clip, from anywhere.
        length = round(len(frames) * rng.uniform(0.5, 0.9))
        start = rng.randint(0, len(frames) - length)
        frames = frames[start : start + length]
        note["start_sec"] = round(float(start / rate), 3)
    if what.get("crop"):
        height, width = (round(side * KEEP) // 2 * 2 for side in frames.shape[1:3])
        top, left = rng.randint(0, frames.shape[1] - height), rng.randint(0, frames.shape[2] - width)
        frames = frames[:, top : top + height, left : left + width]
        note["top"], note["left"] = top, left
    if what.get("mirror"):
        frames = frames[:, :, ::-1]
    if what.get("gain"):
        frames = np.clip(frames * what["gain"], 0, 255).astype(np.uint8)
    if what.get("every"):
        frames, rate = frames[:: what["every"]], rate / what["every"]
    return np.ascontiguousarray(frames), rate, note


def write(path, frames, rate, codec, options, scale):
    height, width = (round(side * scale) // 2 * 2 for side in frames.shape[1:3])
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1000), options=options)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        if "qmin" in options:
            stream.codec_context.qmin = int(options["qmin"])
            stream.codec_context.qmax = int(options["qmax"])
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(width, height, stream.pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def make(args):
    random_clips = random.Random(args.seed)
    source = Path(args.manifest)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with open(source, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    lines = []
    for row in rows:
        lines.append((os.path.relpath(source.parent / row["path"], out), row["label"], "", "", ""))
    for number in sorted(random_clips.sample(range(len(rows)), args.clips)):
        row = rows[number]
        frames, rate = read_frames(source.parent / row["path"])
        original = lines[number][0]
        for change, (codec, ending, options, what) in CHANGES.items():
            if args.changes and change not in args.changes:
                continue
            rng = random.Random(f"{args.seed} {row['path']} {change}")
            pixels, new_rate, note = changed(frames, rate, what, rng)
            name = f"{change}/{Path(row['path']).stem}.{ending}"
            (out / change).mkdir(exist_ok=True)
            write(out / name, pixels, new_rate, codec, options, what.get("scale", 1))
            lines.append((name, row["label"], original, change, json.dumps(note) if note else ""))
        print(f"{row['path']}: {len(frames)} frames")
    write_manifest(out / "manifest.csv", lines)
    # One copy of each clip, the changes in turn.
    clips = list(dict.fromkeys(line[2] for line in lines if line[2]))
    turn = {clip: list(CHANGES)[number % len(CHANGES)] for number, clip in enumerate(clips)}
    write_manifest(out / "one-each.csv", [line for line in lines if not line[2] or turn[line[2]] == line[3]])


def write_manifest(path, lines):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "copy_of", "change", "note"])
        writer.writerows(lines)


def read_answer(manifest, answer):
    with open(manifest, newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["path"]: row for row in rows}, json.loads(Path(answer).read_text())


def known_footage(rows, known):
    """Path to a name that all items of one footage share: copies, and the originals that were looked at by eye."""
    parent = {path: path for path in rows}

    def root(path):
        while parent[path] != path:
            path = parent[path]
        return path

    for path, row in rows.items():
        if row["copy_of"]:
            parent[root(path)] = root(row["copy_of"])
    by_stem = {Path(path).stem: path for path, row in rows.items() if not row["copy_of"]}
    if known:
        for line in Path(known).read_text().splitlines():
            if line and not line.startswith("#"):
                a, b = line.split()[:2]
                parent[root(by_stem[a])] = root(by_stem[b])
    return {path: root(path) for path in rows}


def judge(args):
    rows, answer = read_answer(args.manifest, args.answer)
    footage = known_footage(rows, args.known)
    still = set(answer["still"])
    best = defaultdict(float)
    false, originals = [], []
    for twin in answer["twins"]:
        first, second = twin["first"], twin["second"]
        for a, b in ((first, second), (second, first)):
            if rows[a]["copy_of"] == b:
                best[a] = max(best[a], twin["similarity"])
        if footage[first] != footage[second]:
            false.append((twin["similarity"], twin["kind"], first, second))
        elif not rows[first]["copy_of"] and not rows[second]["copy_of"]:
            originals.append((twin["similarity"], twin["kind"], first, second))
    print("change                     moving: found   still: found   lowest similarity found")
    totals = Counter()
    for change in dict.fromkeys(row["change"] for row in rows.values() if row["change"]):
        copies = [path for path, row in rows.items() if row["change"] == change]
        moving = [path for path in copies if rows[path]["copy_of"] not in still]
        quiet = [path for path in copies if rows[path]["copy_of"] in still]
        found = [[path for path in part if path in best] for part in (moving, quiet)]
        totals += Counter(moving=len(moving), still=len(quiet), found=len(found[0]), found_still=len(found[1]))
        lowest = min((best[path] for path in found[0]), default=float("nan"))
        print(f"{change:26s} {len(found[0]):3d} of {len(moving):3d}     {len(found[1]):3d} of {len(quiet):3d}     {lowest:.3f}")
        for path in moving:
            if path not in best and args.verbose:
                print(f"    not found: {path} {rows[path]['note']}")
    print(
        f"all                        {totals['found']} of {totals['moving']} "
        f"({100 * totals['found'] / max(totals['moving'], 1):.1f} %)     {totals['found_still']} of {totals['still']}"
    )
    print(f"\ntwins among the originals, {len(originals)}:")
    for similarity, kind, first, second in sorted(originals, reverse=True):
        print(f"  {similarity:.3f} {kind:16s} {Path(first).stem} {Path(second).stem}")
    print(f"\npairs of footage that is not known to be the same, {len(false)}:")
    for similarity, kind, first, second in sorted(false, reverse=True):
        print(f"  {similarity:.3f} {kind:16s} {first} {second}")
    return 1 if false else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("make", help="write copies and a manifest")
    command.add_argument("manifest")
    command.add_argument("out")
    command.add_argument("--clips", type=int, default=50)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--changes", nargs="*", choices=list(CHANGES), help="only these (default: all)")
    command.set_defaults(run=make)
    command = commands.add_parser("judge", help="say what was found")
    command.add_argument("manifest")
    command.add_argument("answer")
    command.add_argument("--known", help="pairs of originals that were looked at: two names a line")
    command.add_argument("--verbose", action="store_true", help="name what was not found")
    command.set_defaults(run=judge)
    args = parser.parse_args()
    raise SystemExit(args.run(args))
