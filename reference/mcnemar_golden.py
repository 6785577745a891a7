"""Writes crates/marey-eval/tests/it/golden/mcnemar.json: McNemar's exact test and Holm's correction.

Run from the project root:  python reference/mcnemar_golden.py

The p value is SciPy's exact binomial test of the items on which exactly one of two predictors is right; Holm's
correction is that of statsmodels.
"""

import json
import pathlib

import numpy as np
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

OUT = pathlib.Path("crates/marey-eval/tests/it/golden/mcnemar.json")

PAIRS = [(0, 0), (0, 1), (1, 0), (5, 5), (4, 6), (1, 9), (0, 20), (3, 17), (37, 69), (120, 161), (900, 1100), (2000, 2000), (0, 900)]


def main() -> None:
    mcnemar = [(b, c, binomtest(b, b + c, 0.5).pvalue if b + c else 1.0) for b, c in PAIRS]
    rng = np.random.default_rng(7)
    lists = [[0.01, 0.04, 0.03], [0.5, 0.5], [1.0], [0.02] * 4] + [rng.random(n).round(6).tolist() for n in (2, 5, 9)]
    holm = [(p, multipletests(p, method="holm")[1].tolist()) for p in lists]
    OUT.write_text(json.dumps({"mcnemar": mcnemar, "holm": holm}) + "\n")


if __name__ == "__main__":
    main()
