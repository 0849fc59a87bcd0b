"""HardNet: 128 numbers of a grey patch of 32 x 32 pixels, by seven convolutions (docs/protocols/hardnet.md, Network).

Keys of the state dicts are those of the published checkpoints.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from descbench.models.patches import PatchNetwork, normalise_patches, unit_length

# Statistics of Liberty, which the original subtracts and divides by on every set.
MEAN, STD = 0.443728476019, 0.20197947209
GAIN = 0.6
DIM = 128
# Channels in and out, and whether the convolution halves the map.
_LAYERS = ((1, 32, False), (32, 32, False), (32, 64, True), (64, 64, False), (64, 128, True), (128, 128, False))
_CELLS = 8  # side of the last map
# Local normalisation of whole images.
_WINDOW, _CLAMP = 17, 6.0
_BYTE_SHIFT, _BYTE_SCALE = 0.45, 210.0


class HardNet(PatchNetwork):
    """The network of the paper: no biases, BatchNorm without weights, 28 entries of state.

    Args:
        dropout: probability that an element of the last map is zeroed in training.
    """

    dim = DIM
    mean, std = (MEAN,), (STD,)

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolutions(stride=2, bias=False),
            nn.Dropout(dropout),
            nn.Conv2d(DIM, DIM, _CELLS, bias=False),
            nn.BatchNorm2d(DIM, affine=False),
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Descriptors (N, 128) of unit length of patches (N, 1, 32, 32) float32, in any range of intensities.

        Raises:
            ValueError: patches of another shape.
        """
        self.check_patches(patches)
        return unit_length(self.features(normalise_patches(patches)).flatten(1))

    def dense(self, stride: int) -> DenseHardNet:
        """The same weights over whole images."""
        network = DenseHardNet(stride)
        network.load_state_dict(self.state_dict())
        return network


class HardNetPS(PatchNetwork):
    """HardNetPS of Mitra et al.: biases, BatchNorm with weights, none behind the last layer; 44 entries of state."""

    dim = DIM
    mean, std = (MEAN,), (STD,)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*_convolutions(stride=2, bias=True), nn.Conv2d(DIM, DIM, _CELLS))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """As :meth:`HardNet.forward`."""
        self.check_patches(patches)
        return unit_length(self.features(normalise_patches(patches)).flatten(1))


class DenseHardNet(nn.Module):
    """HardNet over a whole image, with the same entries of state (docs/protocols/hardnet.md, Dense descriptors).

    Args:
        stride: of the two layers that halve the map of a patch; 1: a descriptor for every pixel.

    Attributes:
        smallest: least height and width of an image that has a descriptor.
    """

    dim = DIM

    def __init__(self, stride: int = 2) -> None:
        super().__init__()
        self.smallest = max((_CELLS - 1) * stride**2, _WINDOW // 2) + 1
        self.features = nn.Sequential(
            *_convolutions(stride=stride, bias=False),
            nn.Dropout(0.1),
            nn.Conv2d(DIM, DIM, _CELLS, bias=False),
            nn.BatchNorm2d(DIM, affine=False),
        )

    def forward(self, image: torch.Tensor, *, upscale: bool = False) -> torch.Tensor:
        """Descriptors (N, 128, H', W') of unit length.

        Args:
            image: (N, 1, H, W) float32 in 0..255, the mean of the colours; sides of at least ``smallest``.
            upscale: give (N, 128, H, W), bilinearly between descriptors, which are not normalised again.
        """
        found = unit_length(self.features(normalise_locally(image)))
        if upscale:
            return F.interpolate(found, image.shape[-2:], mode="bilinear", align_corners=False)
        return found


def normalise_locally(image: torch.Tensor) -> torch.Tensor:
    """Less the mean of 17 x 17 pixels, over their (biased) deviation plus 1e-10, clamped to -6..6.

    Args:
        image: (N, 1, H, W) float32, sides above 8, mirrored at its edges.
    """
    padded = F.pad(image, [_WINDOW // 2] * 4, mode="reflect")
    mean, squares = (F.avg_pool2d(values, _WINDOW, stride=1) for values in (padded, padded.square()))
    deviation = (squares - mean.square()).abs().sqrt()
    return ((image - mean) / (deviation + 1e-10)).clamp(-_CLAMP, _CLAMP)


def to_bytes(descriptors: np.ndarray) -> np.ndarray:
    """Elements of descriptors as uint8: (d + 0.45) * 210 without its fraction, in 0..255."""
    return np.clip(((descriptors + _BYTE_SHIFT) * _BYTE_SCALE).astype(np.int64), 0, 255).astype(np.uint8)


def draw_weights(network: nn.Module) -> None:
    """Draw a network as the original starts: orthogonal convolutions of gain 0.6; biases, where there are any, 0.01."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.orthogonal_(module.weight, gain=GAIN)
            if module.bias is not None:
                nn.init.constant_(module.bias, 0.01)


def _convolutions(*, stride: int, bias: bool) -> list[nn.Module]:
    """The six layers before the last, each a convolution, BatchNorm and ReLU."""
    layers: list[nn.Module] = []
    for before, after, halves in _LAYERS:
        convolution = nn.Conv2d(before, after, 3, stride=stride if halves else 1, padding=1, bias=bias)
        layers += [convolution, nn.BatchNorm2d(after, affine=bias), nn.ReLU()]
    return layers
