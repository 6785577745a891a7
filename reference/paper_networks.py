"""Networks for clips that have no package that is kept up, written down after their papers: I3D and MobileNet3D.

`clip_models_golden.py` makes golden files of them.
"""

import torch
from torch import nn


def same(x: torch.Tensor, kernel: list[int], stride: list[int], value: float) -> torch.Tensor:
    """`x` padded as TensorFlow's SAME, which is the padding of all of I3D."""
    pads = []
    for side, k, s in zip(x.shape[2:], kernel, stride):
        total = max((-(-side // s) - 1) * s + k - side, 0)
        pads = [total // 2, total - total // 2] + pads
    return nn.functional.pad(x, pads, value=value)


class SamePool(nn.Module):
    def __init__(self, kernel: list[int], stride: list[int]):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x):
        return nn.functional.max_pool3d(same(x, self.kernel, self.stride, -torch.inf), self.kernel, self.stride)


class Unit(nn.Module):
    """Convolution, norm and rectifier of Carreira and Zisserman, section 2.4; the norm as in their code."""

    def __init__(self, i: int, o: int, side: int, stride: int = 1):
        super().__init__()
        self.conv3d = nn.Conv3d(i, o, side, stride, bias=False)
        self.bn = nn.BatchNorm3d(o, eps=1e-3, momentum=0.01)

    def forward(self, x):
        x = same(x, self.conv3d.kernel_size, self.conv3d.stride, 0.0)
        return torch.relu(self.bn(self.conv3d(x)))


class Inception(nn.Module):
    def __init__(self, i: int, b0: int, b1a: int, b1b: int, b2a: int, b2b: int, b3b: int):
        super().__init__()
        self.b0 = Unit(i, b0, 1)
        self.b1a, self.b1b = Unit(i, b1a, 1), Unit(b1a, b1b, 3)
        self.b2a, self.b2b = Unit(i, b2a, 1), Unit(b2a, b2b, 3)
        self.b3a, self.b3b = SamePool([3, 3, 3], [1, 1, 1]), Unit(i, b3b, 1)

    def forward(self, x):
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))]
        return torch.cat(branches, dim=1)


class I3d(nn.Module):
    """Figure 3 of Carreira and Zisserman, with the channels of Inception-v1 (Szegedy et al., table 1). The last pooling
    spans two frames, and all of a picture, which is 7x7 at the published size."""

    LAYERS = {
        "conv3d_1a_7x7": Unit(3, 64, 7, 2),
        "pool_2a": SamePool([1, 3, 3], [1, 2, 2]),
        "conv3d_2b_1x1": Unit(64, 64, 1),
        "conv3d_2c_3x3": Unit(64, 192, 3),
        "pool_3a": SamePool([1, 3, 3], [1, 2, 2]),
        "mixed_3b": Inception(192, 64, 96, 128, 16, 32, 32),
        "mixed_3c": Inception(256, 128, 128, 192, 32, 96, 64),
        "pool_4a": SamePool([3, 3, 3], [2, 2, 2]),
        "mixed_4b": Inception(480, 192, 96, 208, 16, 48, 64),
        "mixed_4c": Inception(512, 160, 112, 224, 24, 64, 64),
        "mixed_4d": Inception(512, 128, 128, 256, 24, 64, 64),
        "mixed_4e": Inception(512, 112, 144, 288, 32, 64, 64),
        "mixed_4f": Inception(528, 256, 160, 320, 32, 128, 128),
        "pool_5a": SamePool([2, 2, 2], [2, 2, 2]),
        "mixed_5b": Inception(832, 256, 160, 320, 32, 128, 128),
        "mixed_5c": Inception(832, 384, 192, 384, 48, 128, 128),
    }

    def __init__(self, num_classes: int):
        super().__init__()
        for name, layer in self.LAYERS.items():
            self.add_module(name, layer)
        self.logits = nn.Module()
        self.logits.conv3d = nn.Conv3d(1024, num_classes, 1)

    def forward(self, x):
        for name in self.LAYERS:
            x = getattr(self, name)(x)
        t, h, w = x.shape[2:]
        x = nn.functional.avg_pool3d(x, (min(t, 2), h, w), stride=1)
        return self.logits.conv3d(x).mean(dim=(2, 3, 4))


class Inverted(nn.Module):
    """The block of Sandler et al., figure 4d, over clips."""

    def __init__(self, i: int, o: int, stride: int, expansion: int):
        super().__init__()
        inner = i * expansion
        expand = [nn.Conv3d(i, inner, 1, bias=False), nn.BatchNorm3d(inner), nn.ReLU6()] if expansion > 1 else []
        depthwise = nn.Conv3d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        project = [nn.Conv3d(inner, o, 1, bias=False), nn.BatchNorm3d(o)]
        self.conv = nn.Sequential(*expand, depthwise, nn.BatchNorm3d(inner), nn.ReLU6(), *project)
        self.has_way_round = stride == 1 and i == o

    def forward(self, x):
        return x + self.conv(x) if self.has_way_round else self.conv(x)


class MobileNet3d(nn.Module):
    """Table 3 of Köpüklü et al."""

    def __init__(self, num_classes: int):
        super().__init__()
        layers, i = [self.unit(3, 32, 3, (1, 2, 2))], 32
        stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
        for expansion, o, num, stride in stages:
            for idx in range(num):
                layers.append(Inverted(i, o, stride if idx == 0 else 1, expansion))
                i = o
        self.features = nn.Sequential(*layers, self.unit(i, 1280, 1, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Linear(1280, num_classes))

    @staticmethod
    def unit(i: int, o: int, side: int, stride) -> nn.Sequential:
        conv = nn.Conv3d(i, o, side, stride, side // 2, bias=False)
        return nn.Sequential(conv, nn.BatchNorm3d(o), nn.ReLU6())

    def forward(self, x):
        return self.classifier(self.features(x).mean(dim=(2, 3, 4)))
