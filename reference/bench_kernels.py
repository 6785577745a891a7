"""Times marey-kernel against PyTorch, in turn, and writes a table in Markdown.

    cargo build --release -p marey-kernel --example serve_kernels
    python reference/bench_kernels.py [--kind conv,depthwise,norm,maxpool] [--filter TEXT]

Best of many short runs, taken alternately, so that both sides see the same machine. PyTorch runs in
both of its layouts where it has two; the ratio is its better time over ours. Its allocator is told
to keep pages, and ours writes into the same output each time, so neither side pays page faults.
Inputs lie in the layout each side wants; no layout conversion is in any number.
"""

import argparse
import math
import os
import subprocess
import sys
import time

if "MALLOC_TRIM_THRESHOLD_" not in os.environ:
    keep = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "8589934592",
            "MALLOC_TOP_PAD_": "268435456"}
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **keep})

import torch
import torch.nn.functional as F


CLOCK = time.perf_counter


def conv(cin, cout, size, kernel, stride=(1, 1, 1), batch=2, dilation=1, groups=1):
    padding = tuple(k // 2 if i == 0 else k // 2 * dilation for i, k in enumerate(kernel))
    return dict(n=batch, cin=cin, cout=cout, size=size, kernel=kernel, stride=stride,
                padding=padding, dilation=dilation, groups=groups)


# (name, geometry, times it occurs in one R3D-18, 0 for none)
R3D = [
    ("stem 3x7x7 s122 3-64 16x112", conv(3, 64, (16, 112, 112), (3, 7, 7), (1, 2, 2)), 1),
    ("layer1 3x3x3 64 16x56", conv(64, 64, (16, 56, 56), (3, 3, 3)), 4),
    ("layer2 3x3x3 s2 64-128", conv(64, 128, (16, 56, 56), (3, 3, 3), (2, 2, 2)), 1),
    ("layer2 1x1x1 s2 64-128", conv(64, 128, (16, 56, 56), (1, 1, 1), (2, 2, 2)), 1),
    ("layer2 3x3x3 128 8x28", conv(128, 128, (8, 28, 28), (3, 3, 3)), 3),
    ("layer3 3x3x3 s2 128-256", conv(128, 256, (8, 28, 28), (3, 3, 3), (2, 2, 2)), 1),
    ("layer3 1x1x1 s2 128-256", conv(128, 256, (8, 28, 28), (1, 1, 1), (2, 2, 2)), 1),
    ("layer3 3x3x3 256 4x14", conv(256, 256, (4, 14, 14), (3, 3, 3)), 3),
    ("layer4 3x3x3 s2 256-512", conv(256, 512, (4, 14, 14), (3, 3, 3), (2, 2, 2)), 1),
    ("layer4 1x1x1 s2 256-512", conv(256, 512, (4, 14, 14), (1, 1, 1), (2, 2, 2)), 1),
    ("layer4 3x3x3 512 2x7", conv(512, 512, (2, 7, 7), (3, 3, 3)), 3),
]
OTHER = [
    ("2-D 3x3 64 56", conv(64, 64, (1, 56, 56), (1, 3, 3), batch=16), 0),
    ("2-D 1x1 256-64 56", conv(256, 64, (1, 56, 56), (1, 1, 1), batch=16), 0),
    ("2-D 1x1 24-144 56", conv(24, 144, (1, 56, 56), (1, 1, 1), batch=16), 0),
    ("2-D 1x1 1152-192 7", conv(1152, 192, (1, 7, 7), (1, 1, 1), batch=64), 0),
    ("2-D 3x3 s2 128-256 28", conv(128, 256, (1, 28, 28), (1, 3, 3), (1, 2, 2), batch=16), 0),
    ("2-D stem 3x3 s2 3-32 224", conv(3, 32, (1, 224, 224), (1, 3, 3), (1, 2, 2), batch=8), 0),
    ("2-D 3x3 dilation 2 64 56", conv(64, 64, (1, 56, 56), (1, 3, 3), batch=16, dilation=2), 0),
    ("2-D 3x3 groups 4 128 28", conv(128, 128, (1, 28, 28), (1, 3, 3), batch=16, groups=4), 0),
    ("1x3x3 64 8x56", conv(64, 64, (8, 56, 56), (1, 3, 3)), 0),
    ("3x1x1 256-64 8x28", conv(256, 64, (8, 28, 28), (3, 1, 1)), 0),
]
DEPTHWISE = [
    ("depthwise 3x3 96 56", conv(96, 96, (1, 56, 56), (1, 3, 3), batch=16, groups=96), 0),
    ("depthwise 5x5 240 28", conv(240, 240, (1, 28, 28), (1, 5, 5), batch=16, groups=240), 0),
    ("depthwise 3x3 s2 96 56",
     conv(96, 96, (1, 56, 56), (1, 3, 3), (1, 2, 2), batch=16, groups=96), 0),
    ("depthwise 3x3x3 96 8x28", conv(96, 96, (8, 28, 28), (3, 3, 3), groups=96), 0),
]
NORM = [
    ("norm + ReLU 64 16x56", conv(64, 64, (16, 56, 56), (1, 1, 1)), 0),
    ("norm + ReLU 512 2x7", conv(512, 512, (2, 7, 7), (1, 1, 1)), 0),
    ("norm + ReLU 96 56", conv(96, 96, (1, 56, 56), (1, 1, 1), batch=16), 0),
]
MAXPOOL = [
    ("maxpool 3x3 s2 64 112", conv(64, 64, (1, 112, 112), (1, 3, 3), (1, 2, 2), batch=8), 0),
    ("maxpool 3x3x3 s2 64 16x56", conv(64, 64, (16, 56, 56), (3, 3, 3), (2, 2, 2)), 0),
]
DIRECTIONS = {"conv": ["fwd", "bwd_data", "bwd_weights"], "norm": ["fwd", "bwd"],
              "maxpool": ["fwd", "bwd"]}


class Torch:
    """One case in PyTorch, in one memory layout."""

    def __init__(self, kind, case, channels_last):
        self.kind, self.case = kind, case
        two = case["size"][0] == 1 and case["kernel"][0] == 1
        layout = torch.channels_last if two else torch.channels_last_3d
        place = lambda t: t.to(memory_format=layout) if channels_last else t
        cut = lambda v: list(v[1:] if two else v)
        self.stride, self.padding = cut(case["stride"]), cut(case["padding"])
        self.kernel = cut(case["kernel"])
        self.dilation = [case["dilation"]] * 2 if two else [1] + [case["dilation"]] * 2
        self.groups = case["groups"]
        self.x = place(torch.randn([case["n"], case["cin"], *cut(case["size"])]))
        weights = [case["cout"], case["cin"] // self.groups, *self.kernel]
        self.w = place(torch.randn(weights))
        self.conv = F.conv2d if two else F.conv3d
        self.pool = F.max_pool2d if two else F.max_pool3d
        self.gamma = torch.ones(case["cin"])
        self.y = self.dy = None
        if kind == "conv":
            self.dy = place(torch.randn_like(self.forward()))
        else:
            self.x.requires_grad_(True)
            self.gamma.requires_grad_(True)
            self.y = self.forward()
            self.dy = place(torch.randn_like(self.y))

    def forward(self):
        if self.kind == "conv":
            return self.conv(self.x, self.w, None, self.stride, self.padding, self.dilation,
                             self.groups)
        if self.kind == "norm":
            return F.relu(F.batch_norm(self.x, None, None, self.gamma, self.gamma, True))
        return self.pool(self.x, self.kernel, self.stride, self.padding)

    def once(self, direction):
        if direction == "fwd":
            with torch.no_grad():
                self.forward()
        elif self.kind == "conv":
            mask = [direction == "bwd_data", direction == "bwd_weights", False]
            torch.ops.aten.convolution_backward(
                self.dy, self.x, self.w, None, self.stride, self.padding, self.dilation, False,
                [0] * len(self.stride), self.groups, mask)
        else:
            torch.autograd.grad(self.y, [self.x, self.gamma] if self.kind == "norm" else [self.x],
                                self.dy, retain_graph=True)

    def best(self, direction, repeats):
        best = math.inf
        for _ in range(repeats):
            start = CLOCK()
            self.once(direction)
            best = min(best, CLOCK() - start)
        return best * 1e3


class Ours:
    """The other side: examples/serve_kernels.rs."""

    def __init__(self, binary, threads):
        clock = "cpu" if CLOCK is time.thread_time else "wall"
        env = {**os.environ, "RAYON_NUM_THREADS": str(threads), "KERNEL_CLOCK": clock}
        self.process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=env)

    def best(self, kind, case, direction, repeats):
        numbers = [case["n"], case["cin"], case["cout"], *case["size"], *case["kernel"],
                   *case["stride"], *case["padding"], case["dilation"], case["groups"]]
        print(kind, *numbers, direction, repeats, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", default="r3d,conv,depthwise,norm,maxpool")
    parser.add_argument("--filter", default="")
    parser.add_argument("--directions", default="")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true",
                        help="one thread, processor time: for a machine with other work")
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    parser.add_argument("--binary", default=f"{target}/release/examples/serve_kernels")
    options = parser.parse_args()
    if options.cpu_time:
        global CLOCK
        CLOCK, options.threads = time.thread_time, 1
    torch.set_num_threads(options.threads)
    ours = Ours(options.binary, options.threads)
    groups = {"r3d": ("conv", R3D), "conv": ("conv", OTHER), "depthwise": ("conv", DEPTHWISE),
              "norm": ("norm", NORM), "maxpool": ("maxpool", MAXPOOL)}
    clock = "processor time" if options.cpu_time else "wall clock"
    print(f"PyTorch {torch.__version__}, {options.threads} threads, f32, {clock}, best of "
          f"{options.rounds} rounds, load {os.getloadavg()[0]:.1f}\n")
    print("| case | direction | PyTorch, ms | ours, ms | ours, GFLOP/s | ratio |")
    print("|---|---|---|---|---|---|")
    summary, totals = {}, {}
    for group in options.kind.split(","):
        kind, cases = groups[group]
        for name, case, times in cases:
            if options.filter not in name:
                continue
            sides = [Torch(kind, case, False), Torch(kind, case, True)]
            for direction in DIRECTIONS[kind]:
                if direction == "bwd_data" and "stem" in name:
                    continue  # the clip needs no gradient
                if options.directions and direction not in options.directions.split(","):
                    continue
                best = [math.inf] * 3
                for _ in range(options.rounds):
                    for i, side in enumerate(sides):
                        if best[i] < 3 * best[1 - i] or best[i] == math.inf:
                            best[i] = min(best[i], side.best(direction, 3))
                    best[2] = min(best[2], ours.best(kind, case, direction, 3))
                peer = min(best[:2])
                out = [(s + 2 * p - (case["dilation"] if i else 1) * (k - 1) - 1) // st + 1
                       for i, (s, p, k, st) in enumerate(zip(
                           case["size"], case["padding"], case["kernel"], case["stride"]))]
                flops = 2 * case["n"] * math.prod(out) * case["cout"] \
                    * case["cin"] // case["groups"] * math.prod(case["kernel"])
                rate = f"{flops / best[2] / 1e6:.0f}" if kind == "conv" else ""
                print(f"| {name} | {direction} | {peer:.2f} | {best[2]:.2f} | {rate} | "
                      f"**{peer / best[2]:.2f}** |", flush=True)
                summary.setdefault((group, direction), []).append(peer / best[2])
                if times:
                    sums = totals.setdefault(direction, [0.0, 0.0])
                    sums[0] += times * peer
                    sums[1] += times * best[2]
    print("\n| group | direction | geometric mean | worst |\n|---|---|---|---|")
    for (group, direction), ratios in summary.items():
        print(f"| {group} | {direction} | {geometric_mean(ratios):.2f} | {min(ratios):.2f} |")
    if totals:
        print("\nAll convolutions of one R3D-18 (each as often as it occurs):")
        for direction, (peer, mine) in totals.items():
            print(f"{direction}: PyTorch {peer:.1f} ms, ours {mine:.1f} ms, {peer / mine:.2f}")
        peer, mine = (sum(v[i] for v in totals.values()) for i in (0, 1))
        print(f"all three: PyTorch {peer:.1f} ms, ours {mine:.1f} ms, {peer / mine:.2f}")


if __name__ == "__main__":
    main()
