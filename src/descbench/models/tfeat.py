"""TFeat and HardTFeat: 128 numbers of a grey patch by two convolutions (docs/protocols/hardnet.md, Other descriptors).

Keys of the state dicts are those of the published files.
"""

from __future__ import annotations

import torch
from torch import nn

from descbench.models.patches import PatchNetwork, normalise_patches, unit_length

DIM = 128
_CELLS, _CHANNELS = 8, 64  # of the last map


class TFeat(PatchNetwork):
    """TFeat of Balntas et al., BMVC 2016: every patch normalised by its mean and deviation; not of unit length."""

    dim = DIM
    std = (1 / 255,)  # pixels in 0..255

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.InstanceNorm2d(1, affine=False), *_layers())
        self.descr = nn.Sequential(nn.Linear(_CHANNELS * _CELLS**2, DIM), nn.Tanh())

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Descriptors (N, 128), elements in -1..1, of patches (N, 1, 32, 32) float32.

        Raises:
            ValueError: patches of another shape.
        """
        self.check_patches(patches)
        return self.descr(self.features(patches).flatten(1))


class HardTFeat(PatchNetwork):
    """A network of TFeat's size learned with HardNet's loss, of Mishkin et al. (AffNet): unit length."""

    dim = DIM

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*_layers())
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(_CHANNELS, DIM, _CELLS), nn.Tanh())

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Descriptors (N, 128) of unit length of patches (N, 1, 32, 32) float32.

        Raises:
            ValueError: patches of another shape.
        """
        self.check_patches(patches)
        return unit_length(self.classifier(self.features(normalise_patches(patches))).flatten(1))


def _layers() -> list[nn.Module]:
    """What both have: 32 x 32 pixels to 64 channels of 8 x 8 cells."""
    return [nn.Conv2d(1, 32, 7), nn.Tanh(), nn.MaxPool2d(2, 2), nn.Conv2d(32, _CHANNELS, 6), nn.Tanh()]
