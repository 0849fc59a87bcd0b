"""Key.Net, AffNet and OriNet: kornia's networks with the keys of the published files.

What they compute: docs/protocols/oxford_bow.md, Affine frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from descbench.models.kornia_features import kornia_features
from descbench.models.points import FoundPoints

_kornia = kornia_features()
# Width of Key.Net's patches over what `region` is multiplied by, so that a region of 5.2 gives the published width.
_WIDTH, _REGION = 44.0, 5.2
_NEIGHBOURS = 64  # maxima are the highest of 15 x 15 pixels: no more than one in so many on any level


class _Grey:
    """Networks of grey images in 0..1."""

    channels = 1
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    dim = 0


class KeyNet(_Grey, _kornia.KeyNet):
    """The response of one level, and keypoints of a pyramid."""

    def __init__(self) -> None:
        super().__init__(pretrained=False)

    def find_points(self, image: torch.Tensor, most: int | None = None) -> FoundPoints:
        """Keypoints of an image (1, 1, H, W) in 0..1, best first; sizes are 8.46 pixels of their level."""
        detector = _kornia.MultiResolutionDetector(self, most or 4 * image.numel() // _NEIGHBOURS + 1)
        with torch.inference_mode():
            scores, frames = detector.detect(image)
        found = scores[0] > 0
        scale = frames[0, found, 0, 0] / detector.mr_size
        return FoundPoints(frames[0, found, :, 2], scale * (_WIDTH / _REGION), scores[0, found])


class AffNet(_Grey, _kornia.LAFAffNetShapeEstimator):
    """Affine shapes of patches, which keep their orientation."""

    def __init__(self) -> None:
        super().__init__(pretrained=False)


class OriNet(_Grey, _kornia.OriNet):
    """Orientations of patches."""

    def __init__(self) -> None:
        super().__init__(pretrained=False)
