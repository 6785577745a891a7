"""Times marey-kernel against PyTorch, in turn, and writes a table in Markdown.

    cargo build --release -p marey-kernel --example serve_kernels
    python reference/bench_kernels.py [--group r3d_18,depthwise] [--filter TEXT] [--dtype bf16]

The cases come from the binary (crates/marey-kernel/benches/kernels/cases.rs), so both sides run one table. Best of many
short runs, taken alternately, so that both sides see the same machine. PyTorch runs in both of its layouts; the ratio
is its better time over ours: above 1 we are faster. Its allocator is told to keep pages, and ours writes into the same
output each time, so neither side pays page faults. Inputs lie in the layout each side wants; no layout conversion is in
any number. With `--dtype bf16` activations are bf16 on both sides; PyTorch's convolution weights are bf16 too, ours are
f32 and converted in each call, as the master weights of mixed precision are.
"""

import argparse
import math
import os
import subprocess
import sys
import time
from pathlib import Path

if "MALLOC_TRIM_THRESHOLD_" not in os.environ:
    keep = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "8589934592",
            "MALLOC_TOP_PAD_": "268435456"}
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **keep})

import torch
import torch.nn.functional as F


CLOCK = time.perf_counter
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Case:
    """A line of what examples/serve_kernels.rs writes at start."""

    def __init__(self, number, line):
        self.number = number
        self.group, self.name, self.kind, times, directions, gflop, geometry = line.split("\t")
        self.times, self.directions, self.gflop = int(times), directions.split(","), float(gflop)
        numbers = [int(n) for n in geometry.split()]
        self.batch, self.cin, self.cout = numbers[:3]
        self.size, self.kernel, self.stride, self.padding = (numbers[i:i + 3] for i in (3, 6, 9, 12))
        self.dilation, self.groups = numbers[15:]


class Torch:
    """One case in PyTorch, in one memory layout."""

    def __init__(self, case, dtype, channels_last):
        self.kind = case.kind
        two = case.size[0] == 1 and case.kernel[0] == 1
        layout = torch.channels_last if two else torch.channels_last_3d
        place = lambda t: t.to(memory_format=layout) if channels_last else t
        cut = lambda v: list(v[1:] if two else v)
        self.stride, self.padding, self.kernel = cut(case.stride), cut(case.padding), cut(case.kernel)
        self.dilation = [case.dilation] * 2 if two else [1] + [case.dilation] * 2
        self.groups = case.groups
        self.x = place(torch.randn([case.batch, case.cin, *cut(case.size)], dtype=dtype))
        self.w = place(torch.randn([case.cout, case.cin // self.groups, *self.kernel], dtype=dtype))
        self.conv = F.conv2d if two else F.conv3d
        self.pool = {("maxpool", True): F.max_pool2d, ("maxpool", False): F.max_pool3d,
                     ("avgpool", True): F.avg_pool2d, ("avgpool", False): F.avg_pool3d}.get((self.kind, two))
        # The norm's own parameters stay f32, as under autocast.
        self.gamma = torch.ones(case.cin)
        self.y = self.dy = None
        if self.kind == "conv":
            self.dy = place(torch.randn_like(self.forward()))
        else:
            self.x.requires_grad_(True)
            self.gamma.requires_grad_(True)
            self.y = self.forward()
            self.dy = place(torch.randn_like(self.y))

    def forward(self):
        if self.kind == "conv":
            return self.conv(self.x, self.w, None, self.stride, self.padding, self.dilation, self.groups)
        if self.kind == "norm":
            return F.relu(F.batch_norm(self.x, None, None, self.gamma, self.gamma, True))
        return self.pool(self.x, self.kernel, self.stride, self.padding)

    def once(self, direction):
        if direction == "forward":
            with torch.no_grad():
                self.forward()
        elif self.kind == "conv":
            mask = [direction == "backward_data", direction == "backward_weights", False]
            torch.ops.aten.convolution_backward(
                self.dy, self.x, self.w, None, self.stride, self.padding, self.dilation, False,
                [0] * len(self.stride), self.groups, mask)
        else:
            wanted = [self.x, self.gamma] if self.kind == "norm" else [self.x]
            torch.autograd.grad(self.y, wanted, self.dy, retain_graph=True)

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
        if not Path(binary).exists():
            raise SystemExit(f"{binary} is not there: build it as the first lines of this file say")
        clock = "cpu" if CLOCK is time.thread_time else "wall"
        env = {**os.environ, "RAYON_NUM_THREADS": str(threads), "KERNEL_CLOCK": clock}
        self.process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=env)
        self.cases = [Case(i, line) for i, line in enumerate(iter(self.line, ""))]

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the other side ended; what it wrote above says why")
        return line.rstrip("\n")

    def best(self, case, dtype, direction, repeats):
        print(case.number, dtype, direction, repeats, file=self.process.stdin, flush=True)
        return float(self.line())


def time_case(case, direction, ours, options):
    """Milliseconds of PyTorch's better layout and of ours."""
    sides = [Torch(case, DTYPES[options.dtype], last) for last in (False, True)]
    peers, mine = [math.inf] * 2, math.inf
    for _ in range(options.rounds):
        for i, side in enumerate(sides):
            # A layout that takes three times as long as the other one is not asked again.
            if peers[i] < 3 * peers[1 - i] or peers[i] == math.inf:
                peers[i] = min(peers[i], side.best(direction, 3))
        mine = min(mine, ours.best(case, options.dtype, direction, 3))
    return min(peers), mine


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def print_summary(ratios, totals):
    print("\n| group | direction | geometric mean | worst |\n|---|---|---|---|")
    for (group, direction), values in ratios.items():
        print(f"| {group} | {direction} | {geometric_mean(values):.2f} | {min(values):.2f} |")
    for network, sums in totals.items():
        print(f"\nAll convolutions of {network}, each as often as it occurs:")
        sums["together"] = [sum(v[i] for v in sums.values()) for i in (0, 1)]
        for direction, (peer, mine) in sums.items():
            print(f"- {direction}: PyTorch {peer:.1f} ms, ours {mine:.1f} ms, {peer / mine:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--group", default="", help="groups, divided by commas (default: all)")
    parser.add_argument("--filter", default="", help="only cases with this in their name")
    parser.add_argument("--directions", default="", help="directions, divided by commas (default: all)")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
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
    groups = options.group.split(",") if options.group else sorted({case.group for case in ours.cases})
    if unknown := set(groups) - {case.group for case in ours.cases}:
        raise SystemExit(f"--group {','.join(sorted(unknown))}: unknown")
    clock = "processor time" if options.cpu_time else "wall clock"
    print(f"PyTorch {torch.__version__}, {options.threads} threads, {options.dtype}, {clock}, best of "
          f"{options.rounds} rounds, load {os.getloadavg()[0]:.1f}\n")
    print("| case | direction | PyTorch, ms | ours, ms | ours, GFLOP/s | ratio |")
    print("|---|---|---|---|---|---|")
    ratios, totals = {}, {}
    for case in ours.cases:
        if case.group not in groups or options.filter not in case.name:
            continue
        for direction in case.directions:
            if options.directions and direction not in options.directions.split(","):
                continue
            peer, mine = time_case(case, direction, ours, options)
            rate = f"{1e3 * case.gflop / mine:.0f}" if case.gflop else ""
            print(f"| {case.name} | {direction} | {peer:.2f} | {mine:.2f} | {rate} | **{peer / mine:.2f}** |",
                  flush=True)
            ratios.setdefault((case.group, direction), []).append(peer / mine)
            if case.times:
                sums = totals.setdefault(case.group, {}).setdefault(direction, [0.0, 0.0])
                sums[0] += case.times * peer
                sums[1] += case.times * mine
    print_summary(ratios, totals)


if __name__ == "__main__":
    main()
