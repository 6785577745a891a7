"""Prints the golden values of crates/marey-train/src/loss.rs and loss/weights.rs on one small batch: PyTorch's
cross-entropy; the focal losses written out in float64 from their papers, without the code under test; class weights.

    python reference/loss_golden.py
"""

import torch
import torch.nn.functional as F

logits = torch.tensor([[1.0, -0.5, 2.0], [0.3, 0.2, -1.0], [-2.0, 1.5, 0.0]])
targets = torch.tensor([2, 0, 0])
weights = torch.tensor([0.5, 2.0, 1.5])
soft = torch.tensor([[0.25, 0.0, 0.75], [1.0, 0.0, 0.0], [0.4, 0.6, 0.0]], dtype=torch.float64)

print("cross-entropy (weighted, smoothing, loss)")
for weight in (None, weights):
    for smoothing in (0.0, 0.1, 0.5):
        loss = F.cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing)
        print(f"({str(weight is not None).lower()}, {smoothing}, {loss.item():.7f}),")

print("cross-entropy of soft targets, without weights (smoothing, loss)")
for smoothing in (0.0, 0.1):
    loss = F.cross_entropy(logits.double(), soft, label_smoothing=smoothing)
    print(f"({smoothing}, {loss.item():.7f}),")


def focal(gamma_of, weight, smoothing, from_smoothed):
    """Item by item, as Lin et al. (2017), equation 5, with the smoothed cross-entropy in the place of -log(pt)."""
    total, norm = 0.0, 0.0
    for row, target in zip(logits.double(), targets):
        w = torch.ones(3, dtype=torch.float64) if weight is None else weight.double()
        log_p = row - torch.log(torch.exp(row).sum())
        q = torch.full((3,), smoothing / 3, dtype=torch.float64)
        q[target] += 1 - smoothing
        pt = torch.exp((q * log_p).sum()) if from_smoothed else torch.exp(log_p[target])
        total += (1 - pt) ** gamma_of(pt) * -(q * w * log_p).sum()
        norm += w[target]
    return (total / norm).item()


def with_gradient(*arguments):
    """The loss, and its gradient by the first logit."""
    logits.grad = None
    logits.requires_grad_(True)
    loss = 0.0
    norm = 0.0
    gamma_of, weight, smoothing, from_smoothed = arguments
    for row, target in zip(logits.double(), targets):
        w = torch.ones(3, dtype=torch.float64) if weight is None else weight.double()
        log_p = F.log_softmax(row, 0)
        q = torch.full((3,), smoothing / 3, dtype=torch.float64)
        q[target] += 1 - smoothing
        pt = torch.exp((q * log_p).sum()) if from_smoothed else torch.exp(log_p[target])
        loss = loss + (1 - pt) ** gamma_of(pt.detach()) * -(q * w * log_p).sum()
        norm = norm + w[target]
    (loss / norm).backward()
    gradient = logits.grad[0, 0].item()
    logits.requires_grad_(False)
    return gradient


print("focal (gamma, weighted, smoothing, pt of the smoothed loss, loss, gradient of the first logit)")
for gamma in (0.5, 2.0):
    for weight, smoothing, from_smoothed in (
        (None, 0.0, False),
        (weights, 0.1, False),
        (None, 0.15, True),
        (weights, 0.15, True),
    ):
        arguments = (lambda pt: gamma, weight, smoothing, from_smoothed)
        flags = str(weight is not None).lower(), smoothing, str(from_smoothed).lower()
        loss, gradient = focal(*arguments), with_gradient(*arguments)
        print(f"({gamma}, {', '.join(map(str, flags))}, {loss:.7f}, {gradient:.7f}),")

print("sample-dependent focal, Mukhoti et al. (2020): gamma 5 below 0.2, else 3 (weighted, smoothing, loss, gradient)")
for weight, smoothing in ((None, 0.0), (weights, 0.1)):
    arguments = (lambda pt: 5.0 if pt < 0.2 else 3.0, weight, smoothing, False)
    flags = str(weight is not None).lower(), smoothing
    print(f"({', '.join(map(str, flags))}, {focal(*arguments):.7f}, {with_gradient(*arguments):.7f}),")

print("class weights of 100, 30 and 5 clips")
counts = torch.tensor([100.0, 30.0, 5.0], dtype=torch.float64)
for name, weight in {
    "inv": 1 / counts,
    "inv_sqrt": counts**-0.5,
    # Cui et al. (2019), equation 3.
    "effective 0.999": (1 - 0.999) / (1 - 0.999**counts),
    "effective 0.9": (1 - 0.9) / (1 - 0.9**counts),
}.items():
    print(name, [f"{value:.6f}" for value in (weight / weight.mean()).tolist()])
