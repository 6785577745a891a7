"""Items and clips for train.py: the same items, splits, frames and pixels as Marey's loader gives.

Follows crates/marey-clip/src/sampling.rs and crates/marey-transform; torchvision does the arithmetic that those follow.
"""

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision.transforms import v2

# The spellings that `marey` takes; no split leaves an item out.
SPLITS = {"": None, "train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")


@dataclass
class Item:
    path: str
    label: int
    group: str
    split: str | None
    span: tuple | None


def read_manifest(manifest, data):
    """Class names and items; paths are relative to the manifest."""
    root = Path(manifest).parent
    with open(manifest, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    label = data.get("label", "label")
    # `marey data split` writes the groups of any rule into a column `group`.
    groups = [column for column in data.get("group", "group").split("+") if column in rows[0]] or ["group"]
    classes = data.get("classes") or sorted({row[label] for row in rows})
    items = []
    for number, row in enumerate(rows):
        start, end = row.get("start"), row.get("end")
        items.append(
            Item(
                path=str(root / row["path"]),
                label=classes.index(row[label]),
                # Without a group column every item stands for itself.
                group="+".join(row.get(column) or str(number) for column in groups),
                split=SPLITS[row["split"].strip().lower()],
                span=(float(start), float(end)) if start and end else None,
            )
        )
    return classes, items


# Which frames: crates/marey-clip/src/sampling.rs, over positions in display order


def plan_segments(sampling, start, num, pick):
    t = sampling["frames"]
    for i in range(t):
        first = start + num * i // t
        yield pick(first, max(start + num * (i + 1) // t, first + 1))


def plan_from(sampling, start, low, high):
    return [min(max(start + i * sampling["step"], low), high - 1) for i in range(sampling["frames"])]


def plan_centered(sampling, low, high, num_frames):
    start = (low + high) // 2 - sampling["frames"] // 2 * sampling["step"]
    return plan_from(sampling, start, 0, num_frames)


def plan_random(sampling, low, high, num_frames):
    """Positions of one training clip of the frames `low..high`; draws from torch's generator."""
    if sampling["mode"] == "uniform":
        return list(plan_segments(sampling, low, high - low, lambda a, b: int(torch.randint(a, b, ()))))
    if sampling["mode"] == "dense":
        slack = max(high - low - ((sampling["frames"] - 1) * sampling["step"] + 1), 0)
        return plan_from(sampling, low + int(torch.randint(0, slack + 1, ())), low, high)
    return plan_centered(sampling, low, high, num_frames)


def plan_view(sampling, view, low, high, num_frames):
    """Positions of view number `view` in evaluation."""
    views = sampling["views"]
    if sampling["mode"] == "uniform":
        middle = lambda a, b: a + (b - a) * (2 * view + 1) // (2 * views)  # noqa: E731
        return list(plan_segments(sampling, low, high - low, middle))
    if sampling["mode"] == "dense":
        slack = max(high - low - ((sampling["frames"] - 1) * sampling["step"] + 1), 0)
        offset = slack // 2 if views == 1 else slack * view // (views - 1)
        return plan_from(sampling, low + offset, low, high)
    return plan_centered(sampling, low, high, num_frames)


# Frames: from files by PyAV, or from a store decoded once


def timeline(path):
    """Display times in seconds of all frames, from the packets alone."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        ticks = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        return [float(tick * stream.time_base) for tick in ticks]


def decode(path, positions=None):
    """RGB frames `u8 [n, h, w, 3]` at sorted, distinct positions, or all of them."""
    wanted = None if positions is None else set(positions)
    frames = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for position, frame in enumerate(container.decode(stream)):
            if wanted is None or position in wanted:
                frames.append(frame.to_ndarray(format="rgb24"))
                if wanted is not None and len(frames) == len(wanted):
                    break
    return np.stack(frames)


def resized_size(preprocess, height, width):
    """Size before the crop: `Preprocess::resized_size`."""
    out_h, out_w = preprocess["size"]
    if preprocess["resize"] == "stretch":
        return out_h, out_w
    short = min(height, width)
    side = preprocess["short_side"] or min(out_h, out_w)
    if height * side // short < out_h or width * side // short < out_w:
        side = max(-(-out_h * short // height), -(-out_w * short // width))
    return height * side // short, width * side // short


class Store:
    """All frames of all items at the size before the crop, decoded once into a memory-mapped file.

    An index beside it (`PATH.json`) says what it holds. A store that is there is used again, for any split of its items;
    one that was made for other items or another size is an error.
    """

    def __init__(self, path, items, preprocess):
        sources = list(dict.fromkeys(os.path.realpath(item.path) for item in items))
        made_for = {key: preprocess[key] for key in ("size", "resize", "short_side")}
        index = Path(f"{path}.json")
        if not index.exists():
            where = self.write(path, sources, preprocess)
            # Written last, so that a store that was not finished has no index.
            index.write_text(json.dumps({"made_for": made_for, "where": where}))
        found = json.loads(index.read_text())
        if found["made_for"] != made_for or not set(sources) <= set(found["where"]):
            raise SystemExit(f"{path} was made for other items or another size: remove it and {index}")
        self.where = found["where"]
        self.bytes = np.memmap(path, dtype=np.uint8, mode="r")

    @staticmethod
    def write(path, sources, preprocess):
        where, offset = {}, 0
        with open(path, "wb") as file:
            for source in sources:
                frames = torch.from_numpy(decode(source)).permute(0, 3, 1, 2)
                size = resized_size(preprocess, *frames.shape[2:])
                frames = v2.functional.resize(frames, list(size), antialias=True)
                file.write(frames.permute(0, 2, 3, 1).contiguous().numpy().tobytes())
                where[source] = (offset, frames.shape[0], *size)
                offset += frames.shape[0] * size[0] * size[1] * 3
        return where

    def read(self, source, positions):
        offset, _, height, width = self.where[os.path.realpath(source)]
        area = height * width * 3
        rows = [self.bytes[offset + p * area : offset + (p + 1) * area] for p in positions]
        return np.stack(rows).reshape(len(positions), height, width, 3)


class Clips(Dataset):
    """Clips `u8 [3, t, h, w]` with their target; random ones, or every view of every item in order."""

    def __init__(self, items, recipe, store, training):
        self.items, self.sampling, self.store, self.training = items, recipe["sampling"], store, training
        self.preprocess, self.augment = recipe["preprocess"], recipe["augment"]
        self.times = {item.path: timeline(item.path) for item in items}

    def __len__(self):
        return len(self.items) * (1 if self.training else self.sampling["views"])

    def __getitem__(self, number):
        item = self.items[number if self.training else number // self.sampling["views"]]
        times = self.times[item.path]
        low, high = self.bounds(times, item.span)
        if self.training:
            positions = plan_random(self.sampling, low, high, len(times))
        else:
            positions = plan_view(self.sampling, number % self.sampling["views"], low, high, len(times))
        distinct = sorted(set(positions))
        if self.store:
            frames = self.store.read(item.path, distinct)
        else:
            frames = decode(item.path, distinct)
        frames = torch.from_numpy(frames[[distinct.index(p) for p in positions]]).permute(0, 3, 1, 2)
        clip = self.spatial_random(frames) if self.training else self.spatial(frames)
        return clip.permute(1, 0, 2, 3).contiguous(), item.label

    @staticmethod
    def bounds(times, span):
        if span is None:
            return 0, len(times)
        low, high = np.searchsorted(times, span)
        if low < high:
            return int(low), int(high)
        shown = max(int(np.searchsorted(times, span[0], side="right")) - 1, 0)
        return shown, shown + 1

    def spatial(self, frames):
        size = resized_size(self.preprocess, *frames.shape[2:])
        if tuple(frames.shape[2:]) != tuple(size):
            frames = v2.functional.resize(frames, list(size), antialias=True)
        return v2.functional.center_crop(frames, self.preprocess["size"])

    def spatial_random(self, frames):
        """Crop, flip, colour, erasing; each drawn once, for all frames alike."""
        augment, size = self.augment, self.preprocess["size"]
        if (crop := augment["random_resized_crop"]) is not None:
            scale, ratio = crop.get("scale", [0.08, 1.0]), crop.get("ratio", [3 / 4, 4 / 3])
            frames = v2.RandomResizedCrop(size, scale=scale, ratio=ratio, antialias=True)(frames)
        elif augment["random_crop"]:
            before = resized_size(self.preprocess, *frames.shape[2:])
            frames = v2.RandomCrop(size)(v2.functional.resize(frames, list(before), antialias=True))
        else:
            frames = self.spatial(frames)
        if torch.rand(()) < augment["flip"]:
            frames = v2.functional.horizontal_flip(frames)
        if augment["color_jitter"] is not None:
            frames = v2.ColorJitter(**augment["color_jitter"])(frames)
        if (erase := augment["random_erasing"]) is not None:
            frames = v2.RandomErasing(
                erase.get("probability", 0.5),
                scale=erase.get("area", [0.02, 0.33]),
                ratio=erase.get("ratio", [0.3, 3.3]),
                value=erase.get("fill", [128] * 3),
            )(frames)
        return frames
