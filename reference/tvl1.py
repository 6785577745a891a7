"""Optical flow by TV-L1 in double precision, written down after its articles, for the golden file of the two-stream network.

Sánchez, Meinhardt-Llopis and Facciolo, "TV-L1 Optical Flow Estimation", IPOL 2013, algorithm 1, on a pyramid of halves, with a
fixed number of iterations and a 3x3 median behind each warp (docs/adr/0012). `flow_golden.py` compares it with OpenCV's
and scikit-image's.
"""

import numpy as np

LAMBDA, THETA, TAU = 0.15, 0.3, 0.25
WARPS, ITERATIONS, SMALLEST_SIDE = 5, 30, 16


def around(plane: np.ndarray, margin: int) -> np.ndarray:
    return np.pad(plane, margin, mode="edge")


def halved(plane: np.ndarray) -> np.ndarray:
    """Behind a Gaussian of deviation 0.6 sqrt(2^2 - 1), cut off at three places, every second place."""
    taps = np.arange(-3, 4)
    kernel = np.exp(-(taps**2) / (2 * 0.6**2 * 3))
    kernel /= kernel.sum()
    for axis in (1, 0):
        wide = np.pad(plane, [(3, 3) if axis == a else (0, 0) for a in (0, 1)], mode="edge")
        size = plane.shape[axis]
        plane = sum(k * np.take(wide, np.arange(i, i + size), axis) for i, k in enumerate(kernel))
        plane = np.take(plane, np.arange(0, size, 2), axis)
    return plane


def enlarged(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Linear between the places that were kept."""
    (y, x), wide = np.indices(size), np.pad(plane, ((0, 1), (0, 1)), mode="edge")
    top, left, down, across = y // 2, x // 2, y % 2 / 2, x % 2 / 2
    above = (1 - across) * wide[top, left] + across * wide[top, left + 1]
    below = (1 - across) * wide[top + 1, left] + across * wide[top + 1, left + 1]
    return (1 - down) * above + down * below


def between(plane: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -1/2, in its form by distance; outside a picture are its edges."""

    def weight(distance):
        d = np.abs(distance)
        near = 1.5 * d**3 - 2.5 * d**2 + 1
        far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
        return np.where(d <= 1, near, np.where(d < 2, far, 0.0))

    h, w = plane.shape
    top, left, total = np.floor(y), np.floor(x), 0.0
    for dy in range(-1, 3):
        for dx in range(-1, 3):
            at = plane[np.clip(top + dy, 0, h - 1).astype(int), np.clip(left + dx, 0, w - 1).astype(int)]
            total = total + weight(y - top - dy) * weight(x - left - dx) * at
    return total


def median(plane: np.ndarray) -> np.ndarray:
    (h, w), wide = plane.shape, around(plane, 1)
    return np.median([wide[y : y + h, x : x + w] for y in range(3) for x in range(3)], axis=0)


def divergence(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return np.diff(across, axis=1, prepend=0) + np.diff(down, axis=0, prepend=0)


def solve(first: np.ndarray, second: np.ndarray, flow: list[np.ndarray]) -> list[np.ndarray]:
    """One level: equations 10 to 13 of the article."""
    (h, w), wide = first.shape, around(second, 1)
    gradient = [(wide[1:-1, 2:] - wide[1:-1, :-2]) / 2, (wide[2:, 1:-1] - wide[:-2, 1:-1]) / 2]
    y, x = np.indices((h, w)).astype(float)
    duals = [[np.zeros((h, w)) for _ in range(2)] for _ in range(2)]
    for _ in range(WARPS):
        place = (y + flow[1], x + flow[0])
        gx, gy = (between(part, *place) for part in gradient)
        rest = between(second, *place) - gx * flow[0] - gy * flow[1] - first
        length = gx**2 + gy**2
        inside = np.where(length > 1e-10, length, 1.0)
        for _ in range(ITERATIONS):
            rho = rest + gx * flow[0] + gy * flow[1]
            most = LAMBDA * THETA
            step = np.where(rho < -most * length, most, np.where(rho > most * length, -most, -rho / inside))
            step = np.where(length > 1e-10, step, 0.0)
            flow = [
                part + step * g + THETA * divergence(*dual) for part, g, dual in zip(flow, (gx, gy), duals)
            ]
            for part, dual in zip(flow, duals):
                slope = [np.diff(part, axis=1, append=part[:, -1:]), np.diff(part, axis=0, append=part[-1:])]
                scale = 1 + TAU / THETA * np.hypot(*slope)
                dual[:] = [(d + TAU / THETA * s) / scale for d, s in zip(dual, slope)]
        flow = [median(part) for part in flow]
    return flow


def tvl1(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Displacements `[h, w, 2]` in pixels, across and down, of pictures `[h, w]` from 0 to 255."""
    levels = [(first.astype(float), second.astype(float))]
    while min(levels[-1][0].shape) >= 2 * SMALLEST_SIDE:
        levels.append(tuple(halved(picture) for picture in levels[-1]))
    flow = [np.zeros(levels[-1][0].shape) for _ in range(2)]
    for pictures in reversed(levels):
        size, small = pictures[0].shape, flow[0].shape
        if size != small:
            flow = [enlarged(part, size) * size[axis] / small[axis] for part, axis in zip(flow, (1, 0))]
        flow = solve(*pictures, flow)
    return np.stack(flow, axis=2)
