"""What a single frame of ../shared/data/shape_motion tells about the motion, and why.

    marey data split ../shared/data/shape_motion/clips --group-pattern '([^/]+)_\\d+\\.mp4$' \\
      --validation 0 --test 0.34 --output runs/shapes.csv
    python reference/single_frame_cues.py runs/shapes.csv --frames runs

The clips are MPEG-4 Part 2, with a key frame every 12 frames. A key frame is coded alone; the frames after it are coded
as changes, and the coder leaves faint remains of the shape where it was before: a trail of up to 11 frames, a few values
of 255 high. The script asks a random forest for the class from one frame, by what it is shown:

    place   where the shape is
    extent  how many pixels it covers
    trail   how much is left around the shape, and how far to the sides and up and down

and prints the top-1 accuracy, 9-fold by group, of key frames, of the others, and by the number of frames since the key
frame. With `--frames` it also writes single frames as arrays, with the split of the given manifest, for
`marey train --set sampling.frames=1`: `key-frames.csv` has every key frame, `late-frames.csv` the last before each.
"""

import argparse
import csv
from pathlib import Path

import av
import numpy as np
from scipy.ndimage import binary_dilation
from sklearn.ensemble import RandomForestClassifier

from clips import decode

# Sum of the channels above which a pixel belongs to the shape: the background is black, trails stay below 30.
SHAPE = 60


def key_frames(path):
    """Whether each frame is a key frame, in display order."""
    with av.open(path) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.pts is not None]
        return [bool(packet.is_keyframe) for packet in sorted(packets, key=lambda packet: packet.pts)]


def describe(path):
    """Features `[t, 9]` of the frames of a clip: two of place, one of extent, six of the trail."""
    brightness = decode(path).astype(float).sum(-1)
    rows, columns = np.mgrid[: brightness.shape[1], : brightness.shape[2]]
    features = []
    for frame in brightness:
        shape = frame > SHAPE
        x, y = columns[shape].mean(), rows[shape].mean()
        # The shape's own border is blurred, so two pixels around it are no trail.
        trail = (frame > 0) & ~binary_dilation(shape, iterations=2)
        dx, dy = columns[trail] - x, rows[trail] - y
        reach = [np.sqrt(np.mean(d**2)) if len(d) else 0.0 for d in (dx, dy)]
        side = [abs(d.mean()) if len(d) else 0.0 for d in (dx, dy)]
        features.append([x, y, shape.sum(), trail.sum(), frame[trail].sum(), *reach, *side])
    return np.array(features)


FEATURES = {"place": slice(0, 2), "extent": slice(2, 3), "trail": slice(3, 9), "all three": slice(0, 9)}


def accuracy(features, labels, groups):
    """Top-1 of each frame `[n, t]`: 1 where a forest trained on the frames of other groups is right."""
    hits = np.zeros(features.shape[:2])
    for group in sorted(set(groups)):
        judged = groups == group
        forest = RandomForestClassifier(200, min_samples_leaf=5, random_state=0)
        forest.fit(features[~judged].reshape(-1, features.shape[2]), np.repeat(labels[~judged], features.shape[1]))
        guesses = forest.predict(features[judged].reshape(-1, features.shape[2]))
        hits[judged] = guesses.reshape(-1, features.shape[1]) == labels[judged][:, None]
    return hits


def write_frames(rows, chosen, folder, name):
    """The frames of each clip where `chosen` `[n, t]`, one array `u8 [1, h, w, 3]` each, and their manifest."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["path", "label", "split", "group"])
        for row, wanted in zip(rows, chosen):
            frames = decode(row["path"])
            for number in np.flatnonzero(wanted):
                path = f"{name}/{row['label']}_{Path(row['path']).stem}_{number}.npy"
                np.save(folder / path, frames[number : number + 1])
                out.writerow([path, row["label"], row["split"], row["group"]])
    print(f"wrote {folder / name}.csv")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", help="CSV with path, label, split, group, as `marey data split` writes it")
    parser.add_argument("--frames", type=Path, help="folder for the single frames and their manifests")
    args = parser.parse_args()
    with open(args.manifest, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    is_key = np.array([key_frames(row["path"]) for row in rows])
    if args.frames:
        write_frames(rows, is_key, args.frames, "key-frames")
        # The last frame before a key frame has the longest trail.
        before_key = np.pad(is_key[:, 1:], ((0, 0), (0, 1)))
        write_frames(rows, before_key, args.frames, "late-frames")
    features = np.stack([describe(row["path"]) for row in rows])
    labels, groups = (np.array([row[key] for row in rows]) for key in ("label", "group"))
    # Frames since the last key frame; every clip begins with one.
    age = np.array([[t - max(i for i in range(t + 1) if key[i]) for t in range(len(key))] for key in is_key])
    print(f"{len(rows)} clips of {len(set(groups))} groups, chance {1 / len(set(labels)):.3f}")
    for name, columns in FEATURES.items():
        hits = accuracy(features[:, :, columns], labels, groups)
        by_age = " ".join(f"{hits[age == number].mean():.2f}" for number in range(age.max() + 1))
        print(f"{name:9}  key frames {hits[is_key].mean():.3f}, others {hits[~is_key].mean():.3f}, by age {by_age}")


if __name__ == "__main__":
    main()
