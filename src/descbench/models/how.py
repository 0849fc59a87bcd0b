"""HOW: local descriptors whose sum is a good global one (Tolias, Jenicek, Chum, ECCV 2020).

A ResNet without its last stages, attention by the norm of the raw features, 3x3 average smoothing,
and a 1x1 reduction (docs/protocols/how.md, Network); state-dict keys are the original's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from descbench.models.local import LocalNetwork
from descbench.models.torchvision_cpu import models

_CHANNELS = {"resnet18": 512, "resnet50": 2048, "resnet101": 2048}


class FeatureNorm(nn.Module):
    """Attention of a location: the L2 norm of its raw features, sqrt(sum f^2 + 1e-10); never smoothed."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, h, w)."""
        return (features.pow(2).sum(1) + 1e-10).sqrt()


class Smoothing(nn.Module):
    """Average over a square window, stride 1; cells beyond the border are not counted."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same shape; a kernel of 0 leaves the features as they are."""
        if not self.kernel_size:
            return features
        return F.avg_pool2d(features, self.kernel_size, 1, self.kernel_size // 2, count_include_pad=False)


class HowNet(LocalNetwork):
    """The HOW network.

    Args:
        backbone: ``resnet18``, ``resnet50`` or ``resnet101``.
        skip_layer: stages cut from the end (1 makes ResNet-50 the paper's "-R50").
        dim: dimensions D after the reduction.
        smoothing: side of the smoothing window, 0 for none.

    Batches hold one image: images differ in size.
    """

    def __init__(self, backbone: str = "resnet18", skip_layer: int = 0, dim: int = 128, smoothing: int = 3) -> None:
        super().__init__()
        layers = list(getattr(models, backbone)(weights=None).children())[:-2]
        self.backbone, self.skip_layer, self.dim = backbone, skip_layer, dim
        self.backbone_dim = _CHANNELS[backbone] // 2**skip_layer
        self.stride = 32 // 2**skip_layer
        self.features = nn.Sequential(*layers[: len(layers) - skip_layer])
        self.attention = FeatureNorm()
        self.smoothing = Smoothing(smoothing)
        self.dim_reduction = nn.Conv2d(self.backbone_dim, dim, 1)

    @property
    def meta(self) -> dict[str, object]:
        """What the original stores beside the weights."""
        return {
            "architecture": self.backbone,
            "backbone_dim": self.backbone_dim,
            "outputdim": self.dim,
            "corercf_size": self.stride,
        }

    def level(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One level of the pyramid: descriptors (1, D, h, w) and raw attention (h, w)."""
        features = self.features(image)
        return self.dim_reduction(self.smoothing(features)), self.attention(features).squeeze(0)

    def unreduced(self, image: torch.Tensor, n: int) -> torch.Tensor:
        """Smoothed features, before the reduction, of the n strongest cells at scale 1: (m, C), m <= n."""
        features = self.features(image)
        order = torch.argsort(self.attention(features).flatten(), descending=True, stable=True)[:n]
        return self.smoothing(features).flatten(2)[0].T[order]

    forward = LocalNetwork.describe

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """Optimiser groups of the original: the reduction has learning rate 0 (docs/protocols/how.md, Training)."""
        return [
            {"params": list(self.features.parameters()), "lr": learning_rate},
            {"params": list(self.attention.parameters()), "lr": learning_rate},
            {"params": list(self.smoothing.parameters()), "lr": learning_rate},
            {"params": list(self.dim_reduction.parameters()), "lr": 0.0},
        ]
