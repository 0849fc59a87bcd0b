"""SOSNet and HyNet: kornia's networks of patches, with the keys of the published files.

Source: docs/protocols/hardnet.md, Other descriptors.
"""

from __future__ import annotations

import torch

from descbench.models.kornia_features import kornia_features
from descbench.models.patches import PatchNetwork

_kornia = kornia_features()


class _KorniaPatches(PatchNetwork):
    """What stands before one of kornia's networks."""

    def __init__(self) -> None:
        super().__init__(pretrained=False)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Descriptors (N, 128) of unit length of patches (N, 1, 32, 32) float32 in 0..1.

        Raises:
            ValueError: patches of another shape.
        """
        self.check_patches(patches)
        return super().forward(patches)


class SosNet(_KorniaPatches, _kornia.SOSNet):
    """SOSNet of Tian et al., CVPR 2019: every patch normalised by its mean and deviation; unit length."""


class HyNet(_KorniaPatches, _kornia.HyNet):
    """HyNet of Tian et al., NeurIPS 2020: patches are divided by the root of their mean square; unit length."""
