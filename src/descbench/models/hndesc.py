"""HNDesc's two networks, from an image to a map of descriptors (docs/protocols/hndesc.md, Networks).

Keys of the state dicts are those of the published checkpoints.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from descbench.models.points import PointNetwork, sample_descriptors
from descbench.models.torchvision_cpu import models

DIM = 128
# Side of the filter, channels out, dilation, whether BatchNorm and ReLU follow.
Layer = tuple[int, int, int, bool, bool]


class DenseNetwork(PointNetwork):
    """A network that describes points by one map of the whole image."""

    level_outputs: ClassVar = {"dense": (2, 3)}
    dim = DIM

    def level(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        """The map, (1, dim, h, w)."""
        return (self(image),)

    def describe_points(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, dim) of unit length at points of an image (1, 3, H, W)."""
        (dense,) = self.run_level(image)
        return sample_descriptors(dense, points, tuple(image.shape[-2:]))


class HNDescCaps(DenseNetwork):
    """The network that is built as CAPS: a ResNet-50 without its last stage, and a decoder to a quarter of the size.

    ``conv_coarse`` is part of the checkpoints; what it gives is used by CAPS alone.
    """

    def __init__(self) -> None:
        super().__init__()
        encoder = models.resnet50(weights=None)
        self.firstconv, self.firstbn = encoder.conv1, encoder.bn1
        self.layer1, self.layer2, self.layer3 = encoder.layer1, encoder.layer2, encoder.layer3
        self.conv_coarse = _block(1024, DIM, 1)
        self.upconv3, self.iconv3 = _enlarging(1024, 512), _block(512 + 512, 512, 3)
        self.upconv2, self.iconv2 = _enlarging(512, 256), _block(256 + 256, 256, 3)
        self.conv_fine = _block(256, DIM, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Maps (N, 128, 4 * ceil(H / 16), 4 * ceil(W / 16)), not normalised, of images (N, 3, H, W)."""
        # In training, statistics of the coarse BatchNorm move with the others.
        return self.maps(image, coarse=self.training)[-1]

    def maps(self, image: torch.Tensor, *, coarse: bool) -> tuple[torch.Tensor, ...]:
        """The map of :meth:`forward`, behind the one of a sixteenth of the size where it is wanted."""
        first = F.max_pool2d(F.relu(self.firstbn(self.firstconv(image))), 3, stride=2, padding=1)
        quarter = self.layer1(first)
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        before = (self.conv_coarse(sixteenth),) if coarse else ()
        found = self.iconv3(_joined(self.upconv3(sixteenth), eighth))
        found = self.iconv2(_joined(self.upconv2(found), quarter))
        return (*before, self.conv_fine(found))


class HNDescR2D2(DenseNetwork):
    """The network that is built as R2D2, with a ReLU behind its last layer: a descriptor for every pixel.

    Args:
        mchan: layers have 8, 16 and 32 times so many channels, and descriptors 32 times as many numbers (published: 4).
    """

    def __init__(self, mchan: int = 4) -> None:
        super().__init__()
        self.dim = 32 * mchan
        self.ops = dilated_trunk((*trunk(mchan), (2, self.dim, 16, False, True)))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Maps (N, 32 mchan, H, W) of unit length and without negative values, of images (N, 3, H, W)."""
        return F.normalize(self.ops(image), dim=1)


def read_nearest(dense: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Descriptors (n, C) of the pixels nearest to points, scaled to unit length: how backbone r2d2 is trained.

    Source: docs/protocols/hndesc.md, Sampling.

    Args:
        dense: (1, C, H, W) float32, a cell for every pixel.
        points: (n, 2) float32 x, y within the image; halves are rounded to even.
    """
    columns, rows = points.round().long().unbind(1)
    return F.normalize(dense[0, :, rows, columns].t(), dim=1)


def trunk(mchan: int) -> tuple[Layer, ...]:
    """Layers of R2D2 but the last one, which have 8, 16 and 32 times ``mchan`` channels."""
    small, middle, large = 8 * mchan, 16 * mchan, 32 * mchan
    return (
        (3, small, 1, True, True),
        (3, small, 1, True, True),
        (3, middle, 1, True, True),
        (3, middle, 2, True, True),
        (3, large, 2, True, True),
        (3, large, 4, True, True),
        (2, large, 4, True, False),
        (2, large, 8, True, False),
    )


def dilated_trunk(layers: tuple[Layer, ...]) -> nn.Sequential:
    """Convolutions of stride 1, dilated instead of strided, with what follows each; a BatchNorm has no weights."""
    made: list[nn.Module] = []
    before = 3
    for side, after, dilation, normalised, rectified in layers:
        made.append(nn.Conv2d(before, after, side, padding=(side - 1) * dilation // 2, dilation=dilation))
        made += [nn.BatchNorm2d(after, affine=False)] if normalised else []
        made += [nn.ReLU(inplace=True)] if rectified else []
        before = after
    return nn.Sequential(*made)


def _block(before: int, after: int, side: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, side, padding=(side - 1) // 2)
    return nn.Sequential(OrderedDict(conv=convolution, bn=nn.BatchNorm2d(after), elu=nn.ELU()))


def _enlarging(before: int, after: int) -> nn.Sequential:
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return nn.Sequential(OrderedDict(up=up, conv=_block(before, after, 3)))


def _joined(decoded: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
    """Both maps one behind the other; that of the encoder, which may be smaller by a cell, with zeros around it."""
    rows, columns = (decoded.shape[axis] - encoded.shape[axis] for axis in (2, 3))
    padding = [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
    return torch.cat([decoded, F.pad(encoded, padding)], 1)
