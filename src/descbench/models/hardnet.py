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
_CLASSICAL_GAIN = 0.7  # of the network that classical mining trains
DIM = 128
# Channels in and out, and whether the convolution halves the map.
_LAYERS = ((1, 32, False), (32, 32, False), (32, 64, True), (64, 64, False), (64, 128, True), (128, 128, False))
_CELLS = 8  # side of the last map
# Local normalisation of whole images.
_WINDOW, _CLAMP = 17, 6.0
_BYTE_SHIFT, _BYTE_SCALE = 0.45, 210.0


class _HardNetBase(PatchNetwork):
    """What the variants share but their layers, ``features``.

    Attributes:
        gain: of first weights, which are orthogonal.
    """

    dim = DIM
    mean, std = (MEAN,), (STD,)
    gain = GAIN
    features: nn.Sequential

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Descriptors (N, 128) of unit length of patches (N, 1, 32, 32) float32, in any range of intensities.

        Raises:
            ValueError: patches of another shape.
        """
        self.check_patches(patches)
        return unit_length(self.features(normalise_patches(patches)).flatten(1))


class HardNet(_HardNetBase):
    """The network of the paper: no biases, BatchNorm without weights, 28 entries of state.

    Args:
        dropout: probability that an element of the last map is zeroed in training.
    """

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.features = _layers(dropout, bias=False)

    def dense(self, stride: int) -> DenseHardNet:
        """The same weights over whole images."""
        network = DenseHardNet(stride)
        network.load_state_dict(self.state_dict())
        return network


class HardNetClassical(_HardNetBase):
    """The network that the original's classical mining trains: convolutions with biases, 35 entries of state.

    Args:
        dropout: as of :class:`HardNet`.
    """

    gain = _CLASSICAL_GAIN

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.features = _layers(dropout, bias=True)


class HardNetPS(_HardNetBase):
    """HardNetPS of Mitra et al.: biases, BatchNorm with weights, none behind the last layer; 44 entries of state."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*_convolutions(bias=True, affine=True), nn.Conv2d(DIM, DIM, _CELLS))


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
        self.features = _layers(0.1, bias=False, stride=stride)

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


def draw_weights(network: _HardNetBase) -> None:
    """Draw a network as the original starts: orthogonal convolutions; biases, where there are any, 0.01."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.orthogonal_(module.weight, gain=network.gain)
            if module.bias is not None:
                nn.init.constant_(module.bias, 0.01)


def _layers(dropout: float, *, bias: bool, stride: int = 2) -> nn.Sequential:
    """All layers of the paper's network, with biases of convolutions or without."""
    return nn.Sequential(
        *_convolutions(bias=bias, stride=stride),
        nn.Dropout(dropout),
        nn.Conv2d(DIM, DIM, _CELLS, bias=bias),
        nn.BatchNorm2d(DIM, affine=False),
    )


def _convolutions(*, bias: bool, affine: bool = False, stride: int = 2) -> list[nn.Module]:
    """The six layers before the last, each a convolution, BatchNorm (with weights, if ``affine``) and ReLU."""
    layers: list[nn.Module] = []
    for before, after, halves in _LAYERS:
        convolution = nn.Conv2d(before, after, 3, stride=stride if halves else 1, padding=1, bias=bias)
        layers += [convolution, nn.BatchNorm2d(after, affine=affine), nn.ReLU()]
    return layers
