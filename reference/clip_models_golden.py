"""Writes the golden files of the networks for clips: what torchvision, pytorchvideo and mmaction2 make of given weights.

Run from the project root:  python reference/clip_models_golden.py [name ...]

I3D and MobileNet3D have no package that is kept up: `paper_networks.py` has them. As in `model_golden.py`, weights follow from a hash of their names, and PyTorch runs in double precision. A golden file holds logits, and in `grads`
and `stats` a row of two numbers for each parameter and each running statistic, in the order of their sorted names.

pytorchvideo has other names than ours, which are mmaction2's, and another order of the classifier's inputs. Its networks
are written twice: under our names, for the arithmetic, and under its own, with their list, for the importer.
"""

import importlib.util
import pathlib
import re
import sys
import types

import safetensors.torch
import torch
import torchvision
from torch import nn

from model_golden import OUT, clips_of, fill, summary, weight_of
from paper_networks import I3d, MobileNet3d


def without_init(package: str, *names: str):
    """Lets modules of `package` be imported without its `__init__.py`, which wants far more than they do."""
    root = pathlib.Path(importlib.util.find_spec(package).submodule_search_locations[0])
    for name in (package, *names):
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module


without_init("mmaction", "mmaction.models", "mmaction.models.backbones")

from mmaction.models.backbones.c3d import C3D  # noqa: E402
from mmaction.models.backbones.resnet3d_slowfast import ResNet3dSlowFast  # noqa: E402
from mmaction.models.backbones.resnet3d_slowonly import ResNet3dSlowOnly  # noqa: E402
from mmengine.logging.history_buffer import HistoryBuffer  # noqa: E402
from pytorchvideo.models.hub.x3d import x3d_m, x3d_xs  # noqa: E402
from pytorchvideo.models.resnet import create_resnet  # noqa: E402
from pytorchvideo.models.slowfast import create_slowfast  # noqa: E402
from pytorchvideo.models.x3d import create_x3d  # noqa: E402


def ours(name: str) -> str:
    """Our name of a parameter, which is mmaction2's, for that of pytorchvideo's SlowFast and Slow."""
    if name.startswith(("blocks.5.proj.", "blocks.6.proj.")):
        return "cls_head.fc_cls." + name.rsplit(".", 1)[1]
    stage = int(name.split(".")[1])
    name = name.split(".", 2)[2]
    path = ""
    if name.startswith("multipathway_fusion."):
        lateral = "conv1_lateral" if stage == 0 else f"layer{stage}_lateral"
        part = "conv" if "conv_fast_to_slow" in name else "bn"
        return f"backbone.slow_path.{lateral}.{part}." + name.rsplit(".", 1)[1]
    if name.startswith("multipathway_blocks."):
        path = ("slow_path.", "fast_path.")[int(name.split(".")[1])]
        name = name.split(".", 2)[2]
    if stage == 0:
        return f"backbone.{path}conv1." + name.replace("norm.", "bn.")
    block, name = re.fullmatch(r"res_blocks\.(\d+)\.(.*)", name).groups()
    name = name.replace("branch1_conv", "downsample.conv").replace("branch1_norm", "downsample.bn")
    for idx, letter in enumerate("abc", start=1):
        name = name.replace(f"branch2.conv_{letter}", f"conv{idx}.conv").replace(f"branch2.norm_{letter}", f"conv{idx}.bn")
    return f"backbone.{path}layer{stage}.{block}.{name}"


def fast_first(weight: torch.Tensor) -> torch.Tensor:
    """Columns of a classifier's weights for (slow, fast) as those for (fast, slow)."""
    fast = weight.shape[1] // 9
    return torch.cat([weight[:, -fast:], weight[:, :-fast]], dim=1)


def slow_first(weight: torch.Tensor) -> torch.Tensor:
    fast = weight.shape[1] // 9
    return torch.cat([weight[:, fast:], weight[:, :fast]], dim=1)


class PyTorchVideo(nn.Module):
    """SlowFast of pytorchvideo on one clip, of which the pathways see the first frame of each step."""

    def __init__(self, slow_step: int, alpha: int, kernel: int, num_classes: int):
        super().__init__()
        self.net = create_slowfast(
            slowfast_fusion_conv_kernel_size=(kernel, 1, 1),
            slowfast_fusion_conv_stride=(alpha, 1, 1),
            model_num_class=num_classes,
            dropout_rate=0.0,
            head_pool=nn.AdaptiveAvgPool3d,
            head_output_size=[(1, 1, 1), (1, 1, 1)],
        )
        self.net.blocks[6].output_pool = None
        self.steps = [slow_step, slow_step // alpha]

    def forward(self, clips):
        logits = self.net([clips[:, :, ::step] for step in self.steps])
        return logits.flatten(1)


class Slow(nn.Module):
    """Slow of pytorchvideo, for any size."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.net = create_resnet(
            stem_conv_kernel_size=(1, 7, 7),
            model_depth=50,
            model_num_class=num_classes,
            dropout_rate=0.0,
            head_pool=nn.AdaptiveAvgPool3d,
            head_pool_kernel_size=(1, 1, 1),
        )
        self.net.blocks[5].pool = nn.AdaptiveAvgPool3d(1)

    def forward(self, clips):
        return self.net(clips)


class X3d(nn.Module):
    """X3D of pytorchvideo, for any size and without its softmax."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.net = create_x3d(model_num_class=num_classes, dropout_rate=0.0, head_activation=None)
        self.net.blocks[5].pool.pool = nn.AdaptiveAvgPool3d(1)

    def forward(self, clips):
        return self.net(clips)


class PublishedX3d(nn.Module):
    """X3D of pytorchvideo as its name gives it, for clips of its own size; without its softmax."""

    def __init__(self, build, num_classes: int):
        super().__init__()
        self.net = build(model_num_class=num_classes, dropout_rate=0.0, head_activation=None)

    def forward(self, clips):
        return self.net(clips)


def pathway(**change) -> dict:
    config = dict(type="resnet3d", depth=50, pretrained=None, conv1_stride_t=1, pool1_stride_t=1, norm_eval=False)
    return config | change


class Head(nn.Module):
    def __init__(self, width: int, num_classes: int):
        super().__init__()
        self.fc_cls = nn.Linear(width, num_classes)


class MmSlowFast(nn.Module):
    """mmaction2's SlowFast: both pathways' means, the fast one's first. Of 4x16, which is that of the thermal systems, or of
    8x8, whose configuration changes the three numbers."""

    def __init__(self, num_classes: int, base: int = 64, resample_rate: int = 8, speed_ratio: int = 8, kernel: int = 5):
        super().__init__()
        slow = pathway(lateral=True, fusion_kernel=kernel, conv1_kernel=(1, 7, 7), inflate=(0, 0, 1, 1), base_channels=base)
        fast = pathway(lateral=False, conv1_kernel=(5, 7, 7), base_channels=base // 8)
        self.backbone = ResNet3dSlowFast(
            resample_rate=resample_rate, speed_ratio=speed_ratio, channel_ratio=8, slow_pathway=slow, fast_pathway=fast
        )
        self.cls_head = Head(base * 36, num_classes)

    def forward(self, clips):
        slow, fast = self.backbone(clips)
        return self.cls_head.fc_cls(torch.cat([fast.mean(dim=(2, 3, 4)), slow.mean(dim=(2, 3, 4))], dim=1))


class MmSlowOnly(nn.Module):
    """mmaction2's SlowOnly."""

    def __init__(self, num_classes: int):
        super().__init__()
        config = pathway(lateral=False, conv1_kernel=(1, 7, 7), inflate=(0, 0, 1, 1))
        config.pop("type")
        self.backbone = ResNet3dSlowOnly(**config)
        self.cls_head = Head(2048, num_classes)

    def forward(self, clips):
        return self.cls_head.fc_cls(self.backbone(clips).mean(dim=(2, 3, 4)))


class MmC3d(nn.Module):
    """mmaction2's C3D, whose last map is brought to the one frame of 4x4 that its linear layers want."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.backbone = C3D(dropout_ratio=0.0)
        self.backbone.pool5 = nn.Sequential(self.backbone.pool5, nn.AdaptiveAvgPool3d((1, 4, 4)))
        self.cls_head = Head(4096, num_classes)

    def forward(self, clips):
        return self.cls_head.fc_cls(self.backbone(clips))


def golden(name: str, model: nn.Module, evals: list[list[int]], train: list[int], rename=lambda name: name, clips=clips_of):
    state = model.state_dict()
    for key, tensor in state.items():
        if tensor.is_floating_point():
            values = weight_of(rename(key), tensor.shape)
            tensor.copy_(slow_first(values) if is_turned(key, name) else values)
    model.double().eval()
    out = {}
    with torch.no_grad():
        for dims in evals:
            out["eval/" + "x".join(map(str, dims))] = model(clips(dims).double()).float()
    model.train()
    logits = model(clips(train).double())
    loss = nn.functional.cross_entropy(logits, torch.arange(train[0]) % logits.shape[1])
    loss.backward()
    out["train/" + "x".join(map(str, train))] = logits.detach().float()
    out["train/loss"] = loss.detach().float().reshape(1)
    rows = {}
    for key, parameter in model.named_parameters():
        grad = fast_first(parameter.grad) if is_turned(key, name) else parameter.grad
        rows[rename(key)] = summary(rename(key), grad)
    out["grads"] = torch.stack([rows[key] for key in sorted(rows)])
    rows = {rename(key): summary(rename(key), t) for key, t in model.state_dict().items() if "running_" in key}
    if rows:
        out["stats"] = torch.stack([rows[key] for key in sorted(rows)])
    safetensors.torch.save_file(out, OUT / f"{name}.safetensors")
    classes = logits.shape[1]
    num = sum(p.numel() for p in model.parameters())
    width = [p for key, p in model.named_parameters() if p.shape[0] == classes and p.dim() > 1][-1].shape[1]
    at = {k: num + (k - classes) * (width + 1) for k in (2, 400)}
    print(f"{name}: {at[2]} parameters at 2 classes, {at[400]} at 400; loss {loss.item():.6f}", flush=True)


def is_turned(key: str, name: str) -> bool:
    return key.endswith("blocks.6.proj.weight") and name.startswith("slowfast")


def upstream(name: str, model: nn.Module, dims: list[int]):
    """Logits with weights by upstream's names, and a list of these names with the shapes (a counter has none)."""
    fill(model.net)
    model.double().eval()
    with torch.no_grad():
        logits = model(clips_of(dims).double()).float()
    safetensors.torch.save_file({"eval/" + "x".join(map(str, dims)): logits}, OUT / f"upstream_{name}.safetensors")
    lines = [" ".join([key, *map(str, t.shape)]) + "\n" for key, t in model.net.state_dict().items()]
    (OUT / f"upstream_{name}.txt").write_text("".join(lines))


def mmaction2_checkpoint():
    """The ends of a small SlowFast in a checkpoint as mmengine writes it, with the objects that it keeps beside."""
    state = fill(MmSlowFast(14, base=8)).state_dict()
    ends = ("backbone.slow_path.conv1", "backbone.fast_path.conv1", "backbone.slow_path.layer1_lateral", "cls_head.")
    losses = HistoryBuffer([2.5, 2.25], [1, 1])
    checkpoint = {
        "meta": {"cfg": "model = dict(type='Recognizer3D')", "epoch": 3, "iter": 120, "dataset_meta": {"CLASSES": ["a"]}},
        "state_dict": {key: t for key, t in state.items() if key.startswith(ends)},
        "message_hub": {
            "log_scalars": {"train/loss": losses, "val/acc/top1": HistoryBuffer([0.25], [1])},
            "runtime_info": {"epoch": 3, "max_iters": 400, "loop_stage": "train"},
            "resumed_keys": {"train/loss": True},
        },
        "param_schedulers": [{"by_epoch": True, "last_step": 3}],
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    }
    torch.save(checkpoint, OUT / "mmaction2_slowfast.pth")


def net(name: str) -> str:
    """The name without the wrapper that this script puts around pytorchvideo's networks."""
    return name.removeprefix("net.")


def ours_of_net(name: str) -> str:
    return ours(net(name))


def main(wanted: list[str]):
    """Writes all, or the `wanted` files."""
    video, k = torchvision.models.video, 3
    narrow, wide = [[1, 4, 32, 32, 3], [2, 1, 40, 24, 3]], [[1, 16, 64, 48, 3], [2, 8, 32, 40, 3]]
    short = [[1, 4, 64, 48, 3], [2, 1, 32, 40, 3]]
    networks = {
        "mc3_18": lambda: (video.mc3_18(num_classes=k), narrow, [2, 8, 32, 32, 3]),
        "r2plus1d_18": lambda: (video.r2plus1d_18(num_classes=k), narrow, [4, 16, 48, 48, 3]),
        "slowfast_r50_4x16": lambda: (PyTorchVideo(8, 8, 5, k), wide, [2, 16, 64, 64, 3], ours_of_net),
        "slowfast_r50_8x8": lambda: (PyTorchVideo(4, 4, 7, k), wide, [2, 16, 64, 64, 3], ours_of_net),
        "slowfast_r50_thermal": lambda: (MmSlowFast(k), wide, [2, 16, 64, 64, 3]),
        "slowfast_r50_8x8_plain": lambda: (MmSlowFast(k, 64, 4, 4, 7), wide, [2, 16, 64, 64, 3]),
        "slowonly_r50": lambda: (MmSlowOnly(k), short, [2, 4, 64, 64, 3]),
        "x3d_s": lambda: (X3d(k), short, [2, 4, 64, 64, 3], net),
        "x3d_xs": lambda: (PublishedX3d(x3d_xs, k), [[1, 4, 160, 160, 3], [2, 4, 160, 160, 3]], [2, 4, 160, 160, 3], net),
        "x3d_m": lambda: (PublishedX3d(x3d_m, k), [[1, 16, 224, 224, 3], [2, 16, 224, 224, 3]], [1, 16, 224, 224, 3], net),
        "i3d": lambda: (I3d(k), [[1, 16, 64, 64, 3], [2, 5, 47, 33, 3]], [2, 16, 64, 64, 3]),
        "c3d": lambda: (MmC3d(k), [[1, 16, 112, 112, 3], [1, 33, 64, 48, 3]], [2, 16, 64, 64, 3]),
        "mobilenet3d": lambda: (MobileNet3d(k), wide, [2, 32, 64, 64, 3]),
    }
    files = {name: lambda name=name, case=case: golden(name, *case()) for name, case in networks.items()}
    files["upstream_slowfast"] = lambda: upstream("slowfast", PyTorchVideo(4, 4, 7, k), [1, 16, 64, 48, 3])
    files["upstream_slow"] = lambda: upstream("slow", Slow(k), [1, 4, 64, 48, 3])
    files["mmaction2_slowfast"] = mmaction2_checkpoint
    for name in wanted or files:
        files[name]()


if __name__ == "__main__":
    torch.manual_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)
    main(sys.argv[1:])
    for path in sorted(OUT.iterdir()):
        print(f"{path.stat().st_size:>8} {path.name}")
