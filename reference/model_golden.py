"""Writes the golden files of crates/marey-model/tests/golden: what PyTorch, torchvision and timm make of given weights.

Run from the project root:  python reference/model_golden.py

The weights of the full-size models are not stored. They follow from a hash of (name, index) that the Rust tests compute
too, so a golden file holds outputs only: logits, and for every parameter two numbers of its gradient (its norm, and its
product with a hashed vector, which a permuted gradient would not give), and the same of every running statistic after
one training step. PyTorch runs in double precision here, so that the tolerance of the tests is all for the other side.

Small checkpoints in every container that `torch.save` and safetensors write test the importer.
"""

import dataclasses
import math
import pathlib
import sys
import types

import numpy as np
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn
from torchvision.models.video.resnet import BasicBlock, Conv3DSimple

OUT = pathlib.Path("crates/marey-model/tests/golden")
M64 = (1 << 64) - 1


def hashed(name: str, num: int) -> np.ndarray:
    """`num` values in [-1, 1), multiples of 2^-23: FNV-1a of the name, then splitmix64 of the index."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & M64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (np.arange(num, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / (1 << 23) - 1.0


def weight_of(name: str, shape: torch.Size) -> torch.Tensor:
    """Values that keep a signal's size through the network, and statistics that are not 0 and 1."""
    u = hashed(name, math.prod(shape))
    if name.endswith(".running_mean"):
        values = 0.1 * u
    elif name.endswith(".running_var"):
        values = 1.0 + 0.5 * u
    elif len(shape) >= 2:
        values = u * math.sqrt((6.0 if len(shape) >= 4 else 3.0) / math.prod(shape[1:]))
    elif name.endswith(".weight"):
        values = 1.0 + 0.2 * u
    else:
        values = 0.1 * u
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def fill(model: nn.Module) -> nn.Module:
    state = model.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            tensor.copy_(weight_of(name, tensor.shape))
    return model


class TemporalEncoder(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.rnn = nn.LSTM(width, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.attention = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, x):
        states, _ = self.rnn(x)
        return (states * torch.softmax(self.attention(states), dim=1)).sum(dim=1)


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = timm.create_model("efficientnet_b0", pretrained=False, num_classes=0)

    def forward(self, x):
        return self.backbone(x)


class EfficientNetBiLstm(nn.Module):
    """The anomaly system's network without its two other heads; nothing is dropped."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.backbone = Backbone()
        self.temporal_encoder = TemporalEncoder(1280, 256)
        self.projection = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.BatchNorm1d(512))
        self.classifier = nn.Linear(512, num_classes)

    def forward(self, clips):  # [b, c, t, h, w]
        b, c, t, h, w = clips.shape
        frames = self.backbone(clips.transpose(1, 2).reshape(b * t, c, h, w))
        return self.classifier(self.projection(self.temporal_encoder(frames.reshape(b, t, -1))))


def clips_of(dims: list[int]) -> torch.Tensor:
    """Clips [b, t, h, w, c] of hashed values, as the [b, c, t, h, w] that PyTorch wants."""
    values = torch.from_numpy(hashed("clips", math.prod(dims)).astype(np.float32))
    return values.reshape(dims).permute(0, 4, 1, 2, 3)


def summary(name: str, tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.detach().double().flatten()
    direction = torch.from_numpy(hashed("direction of " + name, flat.numel()))
    return torch.stack([flat.norm(), flat @ direction]).float()


def golden(name: str, model: nn.Module, eval_dims: list[list[int]], train_dims: list[int]):
    fill(model).double().eval()
    out = {}
    with torch.no_grad():
        for dims in eval_dims:
            key = "eval/" + "x".join(map(str, dims))
            out[key] = model(clips_of(dims).double()).float()
    model.train()
    logits = model(clips_of(train_dims).double())
    targets = torch.arange(train_dims[0]) % logits.shape[1]
    loss = nn.functional.cross_entropy(logits, targets)
    loss.backward()
    out["train/" + "x".join(map(str, train_dims))] = logits.detach().float()
    out["train/loss"] = loss.detach().float().reshape(1)
    for key, parameter in model.named_parameters():
        out["grad/" + key] = summary(key, parameter.grad)
    for key, tensor in model.state_dict().items():
        if "running_" in key:
            out["stat/" + key] = summary(key, tensor)
    safetensors.torch.save_file(out, OUT / f"{name}.safetensors")
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, loss {loss.item():.6f}")


def small_r3d(num_classes: int) -> nn.Module:
    """torchvision's r3d_18 with 8, 8, 16, 24 channels: `width = 0.05`."""
    model = torchvision.models.video.r3d_18(num_classes=num_classes)
    model.stem[0] = nn.Conv3d(3, 8, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
    model.stem[1] = nn.BatchNorm3d(8)
    model.inplanes = 8
    for idx, channels in enumerate([8, 8, 16, 24]):
        layer = model._make_layer(BasicBlock, Conv3DSimple, channels, 2, stride=1 if idx == 0 else 2)
        if idx == 1:
            # 8 to 8 channels with a stride of 2: torchvision makes a downsample here as it does at full width.
            assert layer[0].downsample is not None
        setattr(model, f"layer{idx + 1}", layer)
    model.fc = nn.Linear(24, num_classes)
    return fill(model)


@dataclasses.dataclass
class TrainConfig:
    """A trainer's settings, which checkpoints hold and a reader must pass over without running anything."""

    out: pathlib.PurePosixPath
    lr: float


def history_buffer():
    """An object of a class that the reader cannot know, as mmengine's checkpoints hold."""
    module = types.ModuleType("mmengine.logging.history_buffer")
    module.HistoryBuffer = type("HistoryBuffer", (), {"__module__": module.__name__})
    sys.modules["mmengine"] = types.ModuleType("mmengine")
    sys.modules["mmengine.logging"] = types.ModuleType("mmengine.logging")
    sys.modules[module.__name__] = module
    buffer = module.HistoryBuffer()
    buffer.values = np.array([1.0, 2.0])
    return buffer


def imports():
    dims = [1, 4, 32, 32, 3]
    out = {}
    for key, dtype in [("f16", torch.float16), ("bf16", torch.bfloat16)]:
        model = small_r3d(3)
        state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in model.state_dict().items()}
        model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in state.items()})
        with torch.no_grad():
            out[f"logits/{key}"] = model.double().eval()(clips_of(dims).double()).float()
        if key == "f16":
            # As a compiled model in a distributed wrapper, inside a checkpoint of mmengine's shape.
            wrapped = {f"module._orig_mod.{name}": t for name, t in state.items()}
            checkpoint = {"meta": {"epoch": 7}, "state_dict": wrapped, "message_hub": {"loss": history_buffer()}}
            torch.save(checkpoint, OUT / "small_r3d_zip.pth")
        else:
            safetensors.torch.save_file(state, OUT / "small_r3d.safetensors")
    # A part of the network as the cross-sucking system names it, with what a trainer keeps beside, in the old container.
    state = {
        "backbone.backbone." + name: t
        for name, t in small_r3d(3).state_dict().items()
        if name.startswith(("stem.", "layer1."))
    }
    state["head.net.1.weight"] = weight_of("fc.weight", torch.Size([3, 24]))
    state["head.net.1.bias"] = weight_of("fc.bias", torch.Size([3]))
    state["temperature"] = torch.ones(1)
    moments = {idx: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4)} for idx in range(2)}
    checkpoint = {
        "epoch": 3,
        "model": state,
        "optimizer": {"state": moments, "param_groups": [{"lr": 1e-3, "params": [0, 1]}]},
        "cfg": TrainConfig(out=pathlib.PurePosixPath("runs/1"), lr=1e-3),
    }
    torch.save(checkpoint, OUT / "part_r3d_legacy.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(out, OUT / "imports.safetensors")


if __name__ == "__main__":
    torch.manual_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)
    golden("r3d_18", torchvision.models.video.r3d_18(num_classes=2), [[1, 4, 32, 32, 3], [2, 1, 40, 24, 3]], [2, 8, 32, 32, 3])
    golden("efficientnet_b0_bilstm", EfficientNetBiLstm(3), [[1, 3, 64, 64, 3], [2, 1, 64, 48, 3]], [3, 2, 64, 64, 3])
    imports()
    for path in sorted(OUT.iterdir()):
        print(f"{path.stat().st_size:>8} {path.name}")
