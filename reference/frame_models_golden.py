"""Writes the golden files of the networks on frames that `model_golden.py` leaves: deeper and shallower backbones, TSN, and the
two-stream network.

Run from the project root:  python reference/frame_models_golden.py [name ...]

Files are as those of `clip_models_golden.py`. TSN and the two-stream network are defined here after their papers, around
torchvision's ResNet-50; the flow is that of `tvl1.py`.
"""

import sys

import numpy as np
import torch
import torchvision
from torch import nn

from clip_models_golden import Head, golden
from model_golden import OUT, FrameNet
from tvl1 import tvl1

FIELDS = 10


class Tsn(nn.Module):
    """Wang et al., section 3.1: the consensus is the mean of the answers to one frame of each segment."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.backbone = torchvision.models.resnet50()
        self.backbone.fc = nn.Identity()
        self.cls_head = Head(2048, num_classes)

    def forward(self, clips):  # [b, c, t, h, w]
        b, c, t, h, w = clips.shape
        # One batch, so that norms see all segments at once.
        frames = self.backbone(clips.transpose(1, 2).reshape(b * t, c, h, w))
        return self.cls_head.fc_cls(frames).reshape(b, t, -1).mean(dim=1)


# Frequencies down and across, phase and amplitude of the waves of `moving`.
WAVES = [(0.11, 0.23, 0.3, 0.33), (-0.29, 0.17, 1.1, 0.29), (0.47, 0.05, 2.0, 0.21), (0.21, -0.61, 0.7, 0.17)]


def moving(dims: list[int]) -> torch.Tensor:
    """A texture that moves by another step in each clip, as [b, c, t, h, w]. In noise, which the other files see, there is
    no flow to find: a change of the pixels by one part in a million moves it by half a pixel there, by 0.0001 here."""
    b, t, y, x, c = np.indices(dims).astype(float)
    y, x = y - (0.8 - 0.5 * b) * t, x + (1.3 - 0.7 * b) * t
    values = sum(a * np.sin(down * y + across * x + phase + 0.3 * c) for down, across, phase, a in WAVES)
    return torch.from_numpy(values.astype(np.float32)).permute(0, 4, 1, 2, 3)


def grey(clip: np.ndarray) -> np.ndarray:
    """`[c, t, h, w]` to `[t, h, w]` from 0 to 255, by Rec. 601."""
    values = np.tensordot([0.299, 0.587, 0.114], clip, axes=1)
    return (values - values.min()) * 255 / (values.max() - values.min())


class TwoStream(nn.Module):
    """Simonyan and Zisserman, section 3: a frame in one network, the flow of ten pairs of frames in another, from which its
    mean is taken off; the mean of both answers. Stacks follow each other, and share what they leave over."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.rgb, self.flow = (torchvision.models.resnet50() for _ in range(2))
        self.flow.conv1 = nn.Conv2d(2 * FIELDS, 64, 7, 2, 3, bias=False)
        self.rgb.fc, self.flow.fc = nn.Identity(), nn.Identity()
        self.fc = nn.ModuleDict({"rgb": nn.Linear(2048, num_classes), "flow": nn.Linear(2048, num_classes)})

    def forward(self, clips):  # [b, c, t, h, w]
        num_pairs = clips.shape[2] - 1
        num_stacks = num_pairs // FIELDS
        spare = num_pairs - num_stacks * FIELDS
        starts = [spare // 2] if num_stacks == 1 else [
            s * FIELDS + s * spare // (num_stacks - 1) for s in range(num_stacks)
        ]
        frames = [clip[:, s + FIELDS // 2] for clip in clips for s in starts]
        fields = [self.fields(clip, s) for clip in clips.numpy() for s in starts]
        rgb, flow = self.rgb(torch.stack(frames)), self.flow(torch.stack(fields))
        answers = (self.fc["rgb"](rgb) + self.fc["flow"](flow)) / 2
        return answers.reshape(len(clips), len(starts), -1).mean(dim=1)

    @staticmethod
    def fields(clip: np.ndarray, start: int) -> torch.Tensor:
        pictures, channels = grey(clip), []
        for first in range(start, start + FIELDS):
            flow = tvl1(pictures[first], pictures[first + 1])
            flow = np.clip((flow - flow.mean(axis=(0, 1))) / 20, -1, 1)
            channels += [flow[..., 0], flow[..., 1]]
        return torch.from_numpy(np.stack(channels))


def main(wanted: list[str]):
    """Writes all, or the `wanted` files."""
    k, evals, train = 3, [[1, 3, 64, 64, 3], [2, 1, 64, 48, 3]], [3, 2, 64, 64, 3]
    networks = {
        "resnet34": lambda: (FrameNet("resnet34", "mean", k), evals, train),
        "resnet101": lambda: (FrameNet("resnet101", "mean", k), evals, train),
        "efficientnet_b1": lambda: (FrameNet("efficientnet_b1", "mean", k), evals, train),
        "efficientnet_b3": lambda: (FrameNet("efficientnet_b3", "mean", k), evals, train),
        "efficientnet_b4": lambda: (FrameNet("efficientnet_b4", "mean", k), evals, train),
        "tsn": lambda: (Tsn(k), evals, train),
        "two_stream": lambda: (TwoStream(k), [[1, 11, 64, 64, 3], [1, 24, 64, 48, 3]], [3, 12, 64, 64, 3], str, moving),
    }
    for name in wanted or networks:
        golden(name, *networks[name]())


if __name__ == "__main__":
    torch.manual_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)
    main(sys.argv[1:])
