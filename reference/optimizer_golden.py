"""Prints the golden values of crates/marey-train/src/optimizer.rs: three steps of two PyTorch optimisers.

    python reference/optimizer_golden.py
"""

import torch

x = torch.tensor([1.0, 0.25])
for name, make in {
    "ADAMW": lambda w: torch.optim.AdamW([w], lr=0.1, weight_decay=0.01),
    "SGD": lambda w: torch.optim.SGD([w], lr=0.1, weight_decay=0.01, momentum=0.9),
}.items():
    w = torch.tensor([1.0, -2.0], requires_grad=True)
    optimizer = make(w)
    for _ in range(3):
        optimizer.zero_grad()
        ((w @ x) ** 2 + (w**2).sum()).backward()
        optimizer.step()
    print(f"const {name}: [f32; 2] = [{', '.join(f'{v:.7f}' for v in w.tolist())}];")
