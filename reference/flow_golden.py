"""Writes the golden file of optical flow: what OpenCV's and scikit-image's TV-L1 find between two pictures.

Run from the project's root: python reference/flow_golden.py
Versions: reference/requirements.txt. Output: crates/marey-transform/tests/golden/flow.safetensors

They are other implementations with other pyramids, interpolation, filters and numbers of iterations, so their flows differ
from each other. What is printed is how far: the test lets ours be as far from each, and a tenth more. `tvl1.py`, which the golden file of
the two-stream network rests on, is compared too.
"""

from pathlib import Path

import cv2
import numpy as np
import skimage
from safetensors.numpy import save_file
from skimage.registration import optical_flow_tvl1

from tvl1 import tvl1

OUT = Path("crates/marey-transform/tests/golden/flow.safetensors")
SIZE, MARGIN = (72, 88), 8


def texture(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    waves = [(0.11, 0.23, 0.3, 40), (-0.29, 0.17, 1.1, 35), (0.47, 0.05, 2.0, 25), (0.21, -0.61, 0.7, 20)]
    return 128 + sum(a * np.sin(down * y + across * x + phase) for down, across, phase, a in waves)


def pictures(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of whole levels: a texture that turns and grows, or a block that moves over another texture."""
    y, x = np.indices(SIZE).astype(float)
    if name == "turning":
        cy, cx, angle, scale = SIZE[0] / 2, SIZE[1] / 2, np.radians(2.5), 1.03
        ty = cy + (np.cos(angle) * (y - cy) - np.sin(angle) * (x - cx)) / scale
        tx = cx + (np.sin(angle) * (y - cy) + np.cos(angle) * (x - cx)) / scale
        both = texture(y, x), texture(ty, tx)
    else:
        both = []
        for dx, dy in [(0, 0), (3, -2)]:
            top, left = 24 + dy, 30 + dx
            inside = (top <= y) & (y < top + 26) & (left <= x) & (x < left + 30)
            both.append(np.where(inside, texture(y - dy + 40, x - dx), 0.6 * texture(0.5 * y + 7, 0.5 * x) + 40))
    return tuple(np.round(np.clip(picture, 0, 255)).astype(np.uint8) for picture in both)


def opencv(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    method = cv2.optflow.DualTVL1OpticalFlow_create(
        tau=0.25, lambda_=0.15, theta=0.3, nscales=3, warps=5, epsilon=1e-4, innnerIterations=30,
        outerIterations=10, scaleStep=0.5, gamma=0.0, medianFiltering=3, useInitialFlow=False,
    )
    return method.calc(first, second, None).astype(np.float64)


def scikit(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # Its attachment is lambda; for pictures of 0 to 1 it is 255 times as large.
    down, across = optical_flow_tvl1(
        first / 255, second / 255, attachment=0.15 * 255, tightness=0.3, num_warp=10, num_iter=30, tol=0, prefilter=True
    )
    return np.stack([across, down], axis=2)


def apart(a: np.ndarray, b: np.ndarray) -> str:
    off = np.hypot(*np.moveaxis(a - b, 2, 0))[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return f"median {np.median(off):.4f}, mean {off.mean():.4f}, 95 % {np.quantile(off, 0.95):.4f} px"


def main() -> None:
    tensors = {}
    for name in ["turning", "block"]:
        first, second = pictures(name)
        flows = {"opencv": opencv(first, second), "scikit-image": scikit(first, second), "tvl1.py": tvl1(first, second)}
        names = list(flows)
        for idx, a in enumerate(names):
            for b in names[idx + 1 :]:
                print(f"{name}: {a} and {b}: {apart(flows[a], flows[b])}")
        tensors |= {f"{name}/first": first, f"{name}/second": second}
        for of in names[:2]:
            tensors[f"{name}/{of}"] = flows[of].astype(np.float32)
    origin = f"reference/flow_golden.py, OpenCV {cv2.__version__}, scikit-image {skimage.__version__}"
    save_file(tensors, OUT, metadata={"origin": origin})
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
