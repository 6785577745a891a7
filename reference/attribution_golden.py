"""Writes crates/marey-model/tests/golden/evidence.safetensors: Grad-CAM by PyTorch's autograd.

Run from the project root:  python reference/attribution_golden.py

The models are those of model_golden.py, with the same hashed weights and clips, in double precision. Grad-CAM (Selvaraju
et al., 2017): the last feature map times the mean gradient of a class's logit over its places, summed over channels, above
zero. The mean is over the places that share a pooled value: of a clip for R3D-18, of a frame for a network for frames.
"""

import safetensors.torch
import torch
import torchvision

import model_golden

R3D_DIMS = [1, 16, 32, 48, 3]
BILSTM_DIMS = [2, 8, 64, 96, 3]


def with_map(model: torch.nn.Module, layer: torch.nn.Module, dims: list[int]):
    """Logits of the clips, and the output of `layer`."""
    kept = []
    hook = layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    logits = model(model_golden.clips_of(dims).double())
    hook.remove()
    return logits, kept[0]


def cam(logit: torch.Tensor, feature_map: torch.Tensor, places: list[int]) -> torch.Tensor:
    (gradient,) = torch.autograd.grad(logit, feature_map, retain_graph=True)
    return torch.relu((feature_map * gradient.mean(dim=places, keepdim=True)).sum(dim=1))


def main() -> None:
    out = {}
    b, t = BILSTM_DIMS[:2]

    r3d = model_golden.fill(torchvision.models.video.r3d_18(num_classes=2)).double().eval()
    logits, feature_map = with_map(r3d, r3d.layer4, R3D_DIMS)
    for k in range(2):
        places = cam(logits[:, k].sum(), feature_map, [2, 3, 4])
        out[f"r3d_18/{k}/places"] = places.float()
        out[f"r3d_18/{k}/over_time"] = places.sum(dim=[2, 3]).float()

    net = model_golden.fill(model_golden.FrameNet("efficientnet_b0", "bilstm", 3)).double().eval()
    # bn2 of timm's model holds the last activation, right before the pooling.
    logits, feature_map = with_map(net, net.backbone.backbone.bn2, BILSTM_DIMS)
    with torch.no_grad():
        frames = feature_map.mean(dim=[2, 3]).reshape(b, t, -1)
        states, _ = net.temporal_encoder.rnn(frames)
        attention = torch.softmax(net.temporal_encoder.attention(states), dim=1).reshape(b, t)
    for k in range(3):
        places = cam(logits[:, k].sum(), feature_map, [2, 3])
        out[f"efficientnet_b0_bilstm/{k}/places"] = places.reshape(b, t, *places.shape[1:]).float()
        out[f"efficientnet_b0_bilstm/{k}/over_time"] = attention.float()

    out = {key: value.detach().contiguous() for key, value in out.items()}
    safetensors.torch.save_file(out, model_golden.OUT / "evidence.safetensors")
    for key, value in out.items():
        print(key, tuple(value.shape), f"largest {value.max().item():.4g}")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
