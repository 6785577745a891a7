"""Prints the golden values of crates/marey-train/src/schedule: the rates of `torch.optim.lr_scheduler`.

    python reference/schedule_golden.py
"""

import warnings

import torch
from torch.optim import SGD, lr_scheduler
from torch.optim.swa_utils import SWALR

warnings.simplefilter("ignore")


def rates(make, num, lr=0.1):
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = make(optimizer)
    found = []
    for _ in range(num):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def show(name, values):
    print(f"{name}: [{', '.join(f'{value:.9f}' for value in values)}]")


for anneal in ("cos", "linear"):
    show(
        f"one_cycle {anneal}",
        rates(
            lambda o: lr_scheduler.OneCycleLR(
                o, 0.1, total_steps=10, pct_start=0.3, div_factor=25, final_div_factor=1e4, anneal_strategy=anneal
            ),
            10,
        ),
    )
show("warm_restarts", rates(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4, 2, 0.01), 14))
show("step every 2", rates(lambda o: lr_scheduler.StepLR(o, 2, 0.5), 6))
show("step milestones", rates(lambda o: lr_scheduler.MultiStepLR(o, [1, 4], 0.1), 6))
show("linear warm-up", rates(lambda o: lr_scheduler.LinearLR(o, 0.01, total_iters=4), 6))
show("swa cos", rates(lambda o: SWALR(o, 0.02, anneal_epochs=4, anneal_strategy="cos"), 6))
show("swa linear", rates(lambda o: SWALR(o, 0.02, anneal_epochs=4, anneal_strategy="linear"), 6))

optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
scheduler = lr_scheduler.ReduceLROnPlateau(
    optimizer, mode="max", factor=0.5, patience=1, threshold=0.01, threshold_mode="abs", cooldown=1, min_lr=0.02, eps=0
)
found = []
for figure in (0.3, 0.5, 0.505, 0.5, 0.4, 0.4, 0.4, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6):
    scheduler.step(figure)
    found.append(optimizer.param_groups[0]["lr"])
show("plateau", found)
