"""GeM: global descriptors by generalised-mean pooling (Radenovic, Tolias, Chum, TPAMI 2018).

The networks of the CNN image retrieval toolbox, as docs/protocols/gem.md describes them; state-dict keys are the
toolbox's (``features.*``, ``pool.p``, ``whiten.*``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn

from descbench.errors import DataError
from descbench.models.levels import LevelNetwork
from descbench.models.torchvision_cpu import models

CHANNELS = MappingProxyType({"vgg16": 512, "resnet50": 2048, "resnet101": 2048, "resnet152": 2048})


# Kinds of learned whitening, as the checkpoints name them.
WHITENINGS = MappingProxyType({"ss": "part for one scale", "ms": "part for several scales"})


class GeMPooling(nn.Module):
    """Generalised mean: (mean of max(x, 1e-6)^p over locations)^(1/p)."""

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), p))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C)."""
        return features.clamp(min=1e-6).pow(self.p).mean((-2, -1)).pow(1.0 / self.p)


class GemNet(LevelNetwork):
    """Backbone, GeM pooling, L2, and whitening.

    Args:
        backbone: ``vgg16`` or a ResNet of torchvision.
        whitening: ``none``; ``network``: a linear layer of the checkpoint, L2-normalised again;
            ``learned``: mean and projection of the checkpoint's metadata, applied after the pyramid; the checkpoint
            has one pair for a single scale and one for several.

    The pyramid averages descriptors to the power of p: GeM's own where the network has no whitening layer and there are
    several scales, 1 otherwise (docs/protocols/gem.md, Multi-scale).
    """

    level_outputs = MappingProxyType({"descriptors": ()})

    def __init__(self, backbone: str, whitening: str = "none") -> None:
        super().__init__()
        self.dim = CHANNELS[backbone]
        if backbone == "vgg16":
            # Without the classifier, whose 124 million weights take seconds to draw and are not used.
            layers = list(models.vgg.make_layers(models.vgg.cfgs["D"]).children())[:-1]
            self.smallest_side = 16  # four poolings by half
        else:
            layers = list(getattr(models, backbone)(weights=None).children())[:-2]
        self.features = nn.Sequential(*layers)
        self.pool = GeMPooling()
        self.whiten = nn.Linear(self.dim, self.dim) if whitening == "network" else None
        self.learned = whitening == "learned"
        if self.learned:
            # No checkpoint names them as weights: they stand on the CPU even where the rest has no values yet.
            for kind in WHITENINGS:
                self.register_buffer(f"{kind}_mean", torch.zeros(self.dim, device="cpu"), persistent=False)
                self.register_buffer(f"{kind}_projection", torch.eye(self.dim, device="cpu"), persistent=False)

    def set_learned_whitening(self, whitenings: Mapping[str, torch.Tensor]) -> None:
        """Set the learned whitenings: ``ss_mean`` (D,), ``ss_projection`` (D', D), and the same for ``ms``.

        One that is missing is refused when it is asked for, not replaced by the other.
        """
        for kind in WHITENINGS:
            for part in ("mean", "projection"):
                setattr(self, f"{kind}_{part}", whitenings.get(f"{kind}_{part}"))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, D) of one scale, L2-normalised with eps 1e-6."""
        pooled = _unit(self.pool(self.features(image)))
        return pooled if self.whiten is None else _unit(self.whiten(pooled))

    def level(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        """:meth:`forward`, as the part that a backend may run."""
        return (self(image),)

    def describe(self, image: torch.Tensor, scales: Sequence[float] = (1.0,)) -> torch.Tensor:
        """Descriptor over a pyramid: (1, D).

        Scales resize bilinearly without a recomputed ratio; scale 1 is left untouched. A scale that
        would leave no pixel is passed over. A learned whitening is chosen by the number of scales.

        Raises:
            DataError: the checkpoint holds no learned whitening for so many scales.
        """
        power = self.pool.p if self.whiten is None and len(scales) > 1 else 1.0
        total, used = torch.zeros((), device=image.device), 0
        for scale in scales:
            if min(int(side * scale) for side in image.shape[-2:]) < 1:
                continue
            total, used = total + self.run_level(_resized(image, scale))[0].pow(power), used + 1
        descriptor = (total / used).pow(1.0 / power)
        descriptor = descriptor / descriptor.norm(dim=1, keepdim=True)
        return self._whitened(descriptor, len(scales)) if self.learned else descriptor

    def _whitened(self, descriptor: torch.Tensor, scales: int) -> torch.Tensor:
        kind = "ms" if scales > 1 else "ss"
        mean, projection = getattr(self, f"{kind}_mean"), getattr(self, f"{kind}_projection")
        if mean is None:
            other = "one scale" if kind == "ms" else "several scales"
            raise DataError(
                f"the checkpoint's learned whitening has no {WHITENINGS[kind]} ({kind!r}); extract at {other}, or set "
                "`whitening: none` of the model."
            )
        return _unit((descriptor - mean) @ projection.T)


def _resized(image: torch.Tensor, scale: float) -> torch.Tensor:
    if scale == 1:
        return image
    return F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x / (x.norm(dim=1, keepdim=True) + 1e-6)
