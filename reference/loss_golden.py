"""Prints the golden values of crates/marey-train/src/loss.rs: PyTorch's cross-entropy on one small batch.

    python reference/loss_golden.py
"""

import torch
import torch.nn.functional as F

logits = torch.tensor([[1.0, -0.5, 2.0], [0.3, 0.2, -1.0], [-2.0, 1.5, 0.0]])
targets = torch.tensor([2, 0, 0])
weights = torch.tensor([0.5, 2.0, 1.5])

for weight in (None, weights):
    for smoothing in (0.0, 0.1, 0.5):
        loss = F.cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing)
        print(f"({str(weight is not None).lower()}, {smoothing}, {loss.item():.7f}),")
