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


class Recurrent(nn.Module):
    """A recurrent network of two layers, then additive attention over its states."""

    def __init__(self, kind: str, width: int, hidden: int):
        super().__init__()
        both = kind == "bilstm"
        network = nn.GRU if kind == "gru" else nn.LSTM
        self.rnn = network(width, hidden, num_layers=2, bidirectional=both, batch_first=True)
        states = 2 * hidden if both else hidden
        self.attention = nn.Sequential(nn.Linear(states, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, x):
        states, _ = self.rnn(x)
        return (states * torch.softmax(self.attention(states), dim=1)).sum(dim=1)


class Attending(nn.Module):
    """Two blocks of a transformer with 8 heads, norms first, sinusoidal positions; the mean over frames."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.input = nn.Linear(width, hidden)
        block = nn.TransformerEncoderLayer(hidden, 8, 2 * hidden, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(block, 2, norm=nn.LayerNorm(hidden), enable_nested_tensor=False)

    def forward(self, x):
        x = self.input(x)
        frames = torch.arange(x.shape[1], dtype=x.dtype)[:, None]
        places = torch.arange(0, x.shape[2], 2, dtype=x.dtype)
        angles = frames * 10000.0 ** (-places / x.shape[2])
        positions = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
        return self.encoder(x + positions).mean(dim=1)


class Backbone(nn.Module):
    """A network for pictures without its classifier, by its name in timm (EfficientNet) or torchvision (ResNet)."""

    def __init__(self, name: str):
        super().__init__()
        if name.startswith("resnet"):
            self.backbone = torchvision.models.get_model(name)
            self.width = self.backbone.fc.in_features
            self.backbone.fc = nn.Identity()
        else:
            self.backbone = timm.create_model(name, pretrained=False, num_classes=0)
            self.width = self.backbone.num_features

    def forward(self, x):
        return self.backbone(x)


class FrameNet(nn.Module):
    """A network on each frame and one over time. EfficientNet-B0 with the bidirectional LSTM is the anomaly system's
    network without its two other heads. Nothing is dropped."""

    def __init__(self, backbone: str, temporal: str, num_classes: int):
        super().__init__()
        self.backbone = Backbone(backbone)
        self.projection = nn.Identity()
        width = self.backbone.width
        if temporal == "mean":
            self.temporal_encoder = None
        elif temporal == "transformer":
            self.temporal_encoder = Attending(width, 512)
            width = 512
        else:
            self.temporal_encoder = Recurrent(temporal, width, 256)
            width = 512 if temporal == "bilstm" else 256
            self.projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.BatchNorm1d(width))
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, clips):  # [b, c, t, h, w]
        b, c, t, h, w = clips.shape
        frames = self.backbone(clips.transpose(1, 2).reshape(b * t, c, h, w)).reshape(b, t, -1)
        clip = frames.mean(dim=1) if self.temporal_encoder is None else self.temporal_encoder(frames)
        return self.classifier(self.projection(clip))


class Tsm(nn.Module):
    """torchvision's resnet50 with a temporal shift before the first convolution of every block, after the definition in
    section 4 of the TSM paper; the answers of all frames are averaged."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.backbone = torchvision.models.resnet50()
        self.backbone.fc = nn.Identity()
        self.cls_head = nn.ModuleDict({"fc_cls": nn.Linear(2048, num_classes)})
        for stage in range(1, 5):
            for block in getattr(self.backbone, f"layer{stage}"):
                block.conv1.register_forward_pre_hook(lambda _module, inputs: (self.shift(inputs[0]),))

    def shift(self, x):
        n, c, h, w = x.shape
        x = x.reshape(n // self.frames, self.frames, c, h, w)
        moved = torch.zeros_like(x)
        fold = c // 8
        moved[:, :-1, :fold] = x[:, 1:, :fold]
        moved[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
        moved[:, :, 2 * fold :] = x[:, :, 2 * fold :]
        return moved.reshape(n, c, h, w)

    def forward(self, clips):  # [b, c, t, h, w]
        b, c, self.frames, h, w = clips.shape
        frames = self.backbone(clips.transpose(1, 2).reshape(-1, c, h, w))
        return self.cls_head["fc_cls"](frames).reshape(b, self.frames, -1).mean(dim=1)


def clips_of(dims: list[int]) -> torch.Tensor:
    """Clips [b, t, h, w, c] of hashed values, as the [b, c, t, h, w] that PyTorch wants."""
    values = torch.from_numpy(hashed("clips", math.prod(dims)).astype(np.float32))
    return values.reshape(dims).permute(0, 4, 1, 2, 3)


def summary(name: str, tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.detach().double().flatten()
    direction = torch.from_numpy(hashed("direction of " + name, flat.numel()))
    return torch.stack([flat.norm(), flat @ direction]).float()


def golden(name: str, model: nn.Module, eval_dims: list[list[int]], train_dims: list[int], of: tuple[str, ...] = ("",)):
    """`of`: which gradients and statistics are kept, by the first part of their names."""
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
        if key.startswith(of):
            out["grad/" + key] = summary(key, parameter.grad)
    for key, tensor in model.state_dict().items():
        if "running_" in key and key.startswith(of):
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
    evals, train = [[1, 3, 64, 64, 3], [2, 1, 64, 48, 3]], [3, 2, 64, 64, 3]
    golden("efficientnet_b0_bilstm", FrameNet("efficientnet_b0", "bilstm", 3), evals, train)
    golden("efficientnet_b2_mean", FrameNet("efficientnet_b2", "mean", 3), evals, train)
    golden("resnet50_mean", FrameNet("resnet50", "mean", 3), evals, train)
    golden("tsm", Tsm(3), evals, train)
    # The backbones are those above: what is over time, and the backbone's first and last weights.
    ends = ("backbone.backbone.conv1.", "backbone.backbone.layer4.1.", "temporal_encoder.", "projection.", "classifier.")
    golden("resnet18_lstm", FrameNet("resnet18", "lstm", 3), evals, train, ends)
    golden("resnet50_gru", FrameNet("resnet50", "gru", 3), evals, train, ends)
    golden("resnet50_transformer", FrameNet("resnet50", "transformer", 3), evals, train, ends)
    imports()
    for path in sorted(OUT.iterdir()):
        print(f"{path.stat().st_size:>8} {path.name}")
