"""Sums up a log of Burn's autotuning: which kernel won for each shape, how long it takes, how long the choice took.

    printf '[autotune.logger]\\nlevel = "full"\\nfile = "tune.log"\\n' > cubecl.toml
    marey bench model r3d_18 --device cuda --warm-up 3
    python reference/autotune_summary.py tune.log

One line a shape of a convolution, in the order in which the program met them, and the time of each kind of choice.
"""

import re
import sys
from collections import Counter

UNITS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
WINNER = re.compile(r"Fastest result (\S+?)-(\w+) \{(.*)\}\.?$")
TUNING = re.compile(r"- Tuning: (\S+) \(compilation & bench: ([\d.]+)(ns|µs|ms|s)\)")
RESULT = re.compile(r"Autotune\[\d+\] name (\S+) => .*median: ([\d.]+)(ns|µs|ms|s),")


def choices(lines):
    """Each choice: winner, key, seconds to choose, and the median seconds of every candidate."""
    current = None
    for line in lines:
        if match := WINNER.search(line):
            if current:
                yield current
            current = {"winner": match[1], "kind": match[2], "key": match[3], "choosing": 0.0, "medians": {}}
        elif current and (match := TUNING.search(line)):
            current["choosing"] += float(match[2]) * UNITS[match[3]]
        elif current and (match := RESULT.search(line)):
            current["medians"][match[1]] = float(match[2]) * UNITS[match[3]]
    if current:
        yield current


def field(key, name):
    match = re.search(name + r": (\[[^\]]*\]|[\w.]+)", key)
    return match[1] if match else "?"


def main():
    found = list(choices(open(sys.argv[1], encoding="utf-8")))
    kinds = Counter()
    for choice in found:
        names = choice["medians"]
        kind = choice["kind"]
        if kind == "ConvAutotuneKey":
            direction = next((name for name in ("dgrad", "wgrad") if any(name in c for c in names)), "forward")
            kind = f"convolution, {direction}"
            key = choice["key"]
            shape = f"{field(key, 'kernel_size')} s{field(key, 'stride')} {field(key, 'in_channels')}-{field(key, 'out_channels')}"
            shape += f" g{field(key, 'groups')} on {field(key, 'shape')} b{field(key, 'batch_size')} {field(key, 'dtype')}"
            ms = 1e3 * names.get(choice["winner"], float("nan"))
            print(f"{direction:8} {shape:75} {choice['winner']:18} {ms:8.3f} ms, chosen in {choice['choosing']:.1f} s")
        kinds[kind] += choice["choosing"]
    for kind, seconds in kinds.most_common():
        print(f"{kind:30} {seconds:7.1f} s of choosing")


if __name__ == "__main__":
    main()
