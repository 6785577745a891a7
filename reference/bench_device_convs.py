"""Convolutions of the architectures on a GPU: Marey beside PyTorch, one after another in one run.

    cargo build --release -p marey-kernel --features cuda --example time_convs
    python reference/bench_device_convs.py target/release/examples/time_convs

For each layer: milliseconds of y, and of y with both gradients, of Marey and of PyTorch in the faster of contiguous and
channels last; medians of rounds that take turns. TF32 is allowed in both (their default).
"""

import argparse
import statistics
import subprocess
import time

import torch

# name, b t h w c, k kt kh kw, stride, groups: R3D-18 with 4 clips, EfficientNet-B0 with 8 clips of 16 frames.
CASES = """
r3d.stem 4 16 112 112 3 64 3 7 7 1 2 2 1
r3d.layer1 4 16 56 56 64 64 3 3 3 1 1 1 1
r3d.layer2.s2 4 16 56 56 64 128 3 3 3 2 2 2 1
r3d.layer2 4 8 28 28 128 128 3 3 3 1 1 1 1
r3d.layer3 4 4 14 14 256 256 3 3 3 1 1 1 1
r3d.layer4.s2 4 4 14 14 256 512 3 3 3 2 2 2 1
r3d.layer4 4 2 7 7 512 512 3 3 3 1 1 1 1
eff.stem 128 1 64 64 3 32 1 3 3 1 2 2 1
eff.dw32 128 1 32 32 32 32 1 3 3 1 1 1 32
eff.expand96 128 1 32 32 16 96 1 1 1 1 1 1 1
eff.dw96.s2 128 1 32 32 96 96 1 3 3 1 2 2 96
eff.dw144.5 128 1 16 16 144 144 1 5 5 1 2 2 144
eff.dw672.5 128 1 4 4 672 672 1 5 5 1 1 1 672
eff.dw1152 128 1 2 2 1152 1152 1 3 3 1 1 1 1152
eff.head 128 1 2 2 320 1280 1 1 1 1 1 1 1
""".strip().splitlines()


def timed(call, repeats):
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3 / repeats


def pytorch(case, dtype, channels_last, repeats):
    name, *sizes = case.split()
    b, t, h, w, c, k, kt, kh, kw, st, sh, sw, groups = map(int, sizes)
    is_image = t == 1 and kt == 1
    x_shape = (b, c, h, w) if is_image else (b, c, t, h, w)
    w_shape = (k, c // groups, kh, kw) if is_image else (k, c // groups, kt, kh, kw)
    layout = torch.channels_last if is_image else torch.channels_last_3d
    layout = layout if channels_last else torch.contiguous_format
    make = lambda shape: torch.rand(shape, device="cuda", dtype=dtype).to(memory_format=layout)
    x, weights = make(x_shape).requires_grad_(), make(w_shape).requires_grad_()
    function = torch.nn.functional.conv2d if is_image else torch.nn.functional.conv3d
    stride, padding = (st, sh, sw), (kt // 2, kh // 2, kw // 2)
    if is_image:
        stride, padding = stride[1:], padding[1:]
    forward = lambda: function(x, weights, stride=stride, padding=padding, groups=groups)
    dy = torch.rand_like(forward())

    def step():
        x.grad = weights.grad = None
        forward().backward(dy)

    with torch.no_grad():
        y = timed(forward, repeats)
    return y, timed(step, repeats)


def marey(program, dtype, repeats):
    out = subprocess.run([program, dtype, str(repeats)], input="\n".join(CASES), text=True, capture_output=True, check=True)
    rows = (line.split() for line in out.stdout.splitlines())
    return {name: (float(y), float(step)) for name, y, step in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--dtypes", nargs="+", default=["f32", "bf16"])
    arguments = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = True
    types = {"f32": torch.float32, "bf16": torch.bfloat16}
    print("| convolution | type | y: Marey, ms | PyTorch | ratio | y, dx, dw: Marey, ms | PyTorch | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for dtype in arguments.dtypes:
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours.append(marey(arguments.program, dtype, arguments.repeats))
            theirs.append({
                (case, layout): pytorch(case, types[dtype], layout, arguments.repeats)
                for case in CASES for layout in (False, True)
            })
        for case in CASES:
            name = case.split()[0]
            cells = []
            for part in (0, 1):
                our = statistics.median(one[name][part] for one in ours)
                their = min(statistics.median(one[case, layout][part] for one in theirs) for layout in (False, True))
                cells += [f"{our:.3f}", f"{their:.3f}", f"{their / our:.2f}"]
            print(f"| {name} | {dtype} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
