"""FIRe: super-features (Weinzaepfel, Lucas, Larlus, Kalantidis, ICLR 2022).

A ResNet without its last stage, the local feature integration transformer (LIT) that turns its map into
N ordered vectors, and a 1x1 reduction (docs/protocols/fire.md, Network); state-dict keys are the original's. What HOW
and FIRe share lives in :mod:`descbench.models.how`.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import torch
from torch import nn

from descbench.models.how import HowNet
from descbench.models.local import LocalDescriptors

# Keeps a template's weights over the map from being all zero.
_EPS = 1e-8


class Lit(nn.Module):
    """Local feature integration transformer: N templates that gather a feature map in T iterations.

    The same weights serve all iterations. Each location distributes itself over the templates (softmax over
    templates), then the weights of each template are made to sum to 1 over the map (docs/protocols/fire.md, LIT).

    Args:
        channels: C of the feature map.
        dim: D of the templates.
        templates: N.
        iterations: T.
    """

    def __init__(self, channels: int = 1024, dim: int = 1024, templates: int = 256, iterations: int = 6) -> None:
        super().__init__()
        self.dim, self.iterations = dim, iterations
        self.templates_init = nn.Parameter(torch.randn(1, templates, dim))
        self.project_q = nn.Linear(dim, dim, bias=False)
        self.project_k = nn.Linear(channels, dim, bias=False)
        self.project_v = nn.Linear(channels, dim, bias=False)
        self.norm_inputs = nn.LayerNorm(channels)
        self.norm_templates = nn.LayerNorm(dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, dim // 2), nn.ReLU(), nn.Linear(dim // 2, dim))

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gather a feature map.

        Args:
            features: (B, C, h, w).

        Returns:
            Super-features (B, D, N, 1), not normalised, and the attention maps of the last iteration
            (B, N, h, w), each of which sums to 1.
        """
        inputs = self.norm_inputs(features.flatten(2).transpose(1, 2))
        keys, values = self.project_k(inputs), self.project_v(inputs)
        templates = self.templates_init.expand(features.shape[0], -1, -1)
        for _ in range(self.iterations):
            queries = self.project_q(self.norm_templates(templates)) * self.dim**-0.5
            attention = (queries @ keys.transpose(1, 2)).softmax(1) + _EPS
            attention = attention / attention.sum(2, keepdim=True)
            templates = templates + attention @ values
            templates = templates + self.mlp(self.norm_mlp(templates))
        return templates.transpose(1, 2)[..., None], attention.unflatten(2, features.shape[2:])


class FireNet(HowNet):
    """The FIRe network.

    Unlike HOW it takes the N super-features of each scale for its map (of N x 1 cells), scales images by
    the scale itself, and keeps strengths as they are.

    Args:
        backbone: ``resnet18``, ``resnet50`` or ``resnet101``.
        skip_layer: stages cut from the end.
        dim: dimensions D after the reduction.
        templates: N, super-features of a scale.
        iterations: T of LIT.
        dim_lit: dimensions of a super-feature before the reduction.

    Batches hold one image: images differ in size.
    """

    # N super-features, whatever the size of the level.
    level_outputs = MappingProxyType({"descriptors": (), "attention": ()})
    recompute_scale = False
    relative_attention = False

    def __init__(
        self,
        backbone: str = "resnet50",
        skip_layer: int = 1,
        dim: int = 128,
        templates: int = 256,
        iterations: int = 6,
        dim_lit: int = 1024,
    ) -> None:
        super().__init__(backbone, skip_layer, dim, smoothing=0)
        self.dim_reduction = nn.Conv2d(dim_lit, dim, 1)
        self.lit = Lit(self.backbone_dim, dim_lit, templates, iterations)

    @property
    def meta(self) -> dict[str, object]:
        """What the original stores beside the weights; its ``backbone_dim`` is LIT's."""
        return {**super().meta, "backbone_dim": self.lit.dim}

    def level(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One level of the pyramid: reduced super-features (1, D, N, 1) and their strengths (N, 1)."""
        superfeatures, _ = self.lit(self.features(image))
        return self.dim_reduction(superfeatures), self.attention(superfeatures).squeeze(0)

    def superfeatures(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What training compares (docs/protocols/fire.md, Matching), at scale 1.

        Args:
            image: (1, 3, H, W) normalised.

        Returns:
            Reduced super-features (N, D), row i of template i, and attention maps (N, h, w).
        """
        superfeatures, attention = self.lit(self.features(image))
        return self.dim_reduction(superfeatures)[0, :, :, 0].T, attention[0]

    def unreduced(self, image: torch.Tensor, n: int) -> torch.Tensor:
        """The n strongest super-features at scale 1, before the reduction: (min(n, N), dim_lit)."""
        superfeatures, _ = self.lit(self.features(image))
        order = torch.argsort(self.attention(superfeatures).flatten(), descending=True, stable=True)[:n]
        return superfeatures[0, :, :, 0].T[order]

    def keypoints(self, found: LocalDescriptors, scales: Sequence[float], size: tuple[int, int]) -> None:
        """None: a super-feature gathers the whole image. Its ``locations`` are (0, template), as in the original."""
        return None

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """Optimiser groups that the original intends: the reduction has learning rate 0."""
        return [
            {"params": list(self.features.parameters()), "lr": learning_rate},
            {"params": list(self.lit.parameters()), "lr": learning_rate},
            {"params": list(self.dim_reduction.parameters()), "lr": 0.0},
        ]
