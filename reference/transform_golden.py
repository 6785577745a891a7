"""Writes the golden file of marey-transform: what torchvision makes of one small clip.

Run from the project's root: python reference/transform_golden.py
Versions: reference/requirements.txt. Output: crates/marey-transform/tests/golden/transform.safetensors
"""

import colorsys
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

OUT = Path("crates/marey-transform/tests/golden/transform.safetensors")
FRAMES, HEIGHT, WIDTH = 2, 45, 61
MEAN, STD = [0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989]


def source() -> torch.Tensor:
    """A smooth picture with noise and a saturated block, so that filters and clamping both show. [t, c, h, w]"""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    waves = [np.sin(x / 5 + t) + np.cos(y / (4 + c)) for t in range(FRAMES) for c in range(3)]
    pixels = 128 + 55 * np.stack(waves) + rng.normal(0, 18, (FRAMES * 3, HEIGHT, WIDTH))
    pixels = pixels.clip(0, 255).astype(np.uint8).reshape(FRAMES, 3, HEIGHT, WIDTH)
    pixels[:, 0, 8:20, 10:30] = 255
    pixels[:, 1:, 8:20, 10:30] = 0
    return torch.from_numpy(pixels)


def last(clip: torch.Tensor) -> torch.Tensor:
    """[t, c, h, w] to [t, h, w, c]."""
    return clip.permute(0, 2, 3, 1).contiguous()


def of_clip(change, clip: torch.Tensor) -> torch.Tensor:
    """`change` over all frames at once: they lie below each other in one picture. [t, c, h, w]"""
    t, c, h, w = clip.shape
    tall = change(clip.permute(1, 0, 2, 3).reshape(c, t * h, w))
    return tall.reshape(c, t, h, w).permute(1, 0, 2, 3)


def policy(small: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every entry of both lists at one magnitude, by torchvision's own tables, on one small picture."""
    tensors = {}
    height, width = small.shape[-2:]
    for name, kind, step, sign in [("rand", v2.RandAugment, 19, -1), ("trivial", v2.TrivialAugmentWide, 11, 1)]:
        change = kind(interpolation=v2.InterpolationMode.BILINEAR)
        for op, (magnitudes, signed) in change._AUGMENTATION_SPACE.items():
            values = magnitudes(31, height, width)
            magnitude = 0.0 if values is None else float(values[step]) * (sign if signed else 1)
            out = change._apply_image_or_video_transform(
                small, op, magnitude, interpolation=v2.InterpolationMode.BILINEAR, fill=change._fill
            )
            tensors[f"{name}:{op}"] = last(out)
    return tensors


def snow(picture: torch.Tensor, limit: float, brightness: float) -> torch.Tensor:
    """Lightness below `limit` times `brightness`, in hue, lightness and saturation. [t, h, w, c]"""
    pixels = picture.numpy().reshape(-1, 3) / 255
    out = []
    for red, green, blue in pixels:
        hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
        if lightness < limit:
            lightness = min(lightness * brightness, 1.0)
        out.append(colorsys.hls_to_rgb(hue, lightness, saturation))
    return torch.from_numpy((np.array(out) * 255).round().astype(np.uint8)).reshape(picture.shape)


def main() -> None:
    clip = source()
    tensors = {"source": last(clip)}

    def resize(size):
        return F.resize(clip, size, antialias=True)

    tensors["short_side"] = last(F.center_crop(resize([24]), [20, 28]))
    tensors["stretch_down"] = last(resize([16, 20]))
    tensors["stretch_up"] = last(resize([70, 100]))
    tensors["stretch_mixed"] = last(resize([70, 20]))
    tensors["resized_crop"] = last(F.resized_crop(clip, 5, 9, 31, 40, [20, 28], antialias=True))
    tensors["resized_crop_up"] = last(F.resized_crop(clip, 30, 44, 12, 13, [20, 28], antialias=True))
    for name, change, values in [
        ("brightness", F.adjust_brightness, [0.6, 1.3]),
        ("contrast", F.adjust_contrast, [0.5, 1.4]),
        ("saturation", F.adjust_saturation, [0.3, 1.7]),
        ("hue", F.adjust_hue, [-0.3, 0.1]),
    ]:
        for value in values:
            tensors[f"{name}:{value}"] = last(change(clip, value))
    tensors["grayscale"] = last(F.rgb_to_grayscale(clip, num_output_channels=3))
    dim = (clip.to(torch.float32) * 0.4 + 50).to(torch.uint8)
    tensors["dim"] = last(dim)
    tensors["autocontrast"] = last(of_clip(F.autocontrast, dim))
    tensors["equalize"] = last(of_clip(F.equalize, dim))
    for kernel, sigma in [(5, 0.3), (5, 1.7), (9, 2.5)]:
        tensors[f"blur:{kernel}:{sigma}"] = last(F.gaussian_blur(clip, [kernel, kernel], [sigma, sigma]))
    tensors["affine"] = last(
        F.affine(clip, 17.0, [5, -3], 0.8, [0.0, 0.0], interpolation=v2.InterpolationMode.BILINEAR)
    )
    small = clip[:1, :, 2:26, 4:36].contiguous()
    tensors["small"] = last(small)
    tensors |= policy(small)
    tensors["snow"] = snow(last(small), 0.45, 2.5)
    scaled = clip.to(torch.float32) / 255
    tensors["normalized"] = last(F.normalize(scaled, MEAN, STD))

    celsius = np.random.default_rng(8).uniform(0, 50, (FRAMES, 10, 12, 1)).astype(np.float32)
    celsius[0, 0, :4, 0] = [-273.2, 5.0, 45.0, 44.999]
    window = (np.clip(celsius, 5.0, 45.0) - np.float32(5)) / np.float32(40)
    tensors["celsius"] = torch.from_numpy(celsius)
    tensors["celsius_light"] = torch.from_numpy((window * np.float32(255)).astype(np.uint8))

    OUT.parent.mkdir(parents=True, exist_ok=True)
    origin = f"reference/transform_golden.py, torch {torch.__version__}, torchvision {torchvision.__version__}"
    save_file(tensors, OUT, metadata={"origin": origin})
    print(f"{OUT}: {len(tensors)} tensors, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
