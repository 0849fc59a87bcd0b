"""NetVLAD: one descriptor an image for place recognition (Arandjelovic et al., CVPR 2016).

The network of pytorch-NetVlad (docs/protocols/netvlad.md, Network). State-dict keys are the original's (``encoder.*``,
``pool.*``), with a PCA-whitening behind it Patch-NetVLAD's (``WPCA.0.*``).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn

from descbench.models.levels import LevelNetwork
from descbench.models.local import resize
from descbench.models.torchvision_cpu import models

CHANNELS = {"vgg16": 512, "alexnet": 256}
# Four poolings by half; and what AlexNet's first convolution and two poolings of three pixels need.
_SMALLEST_SIDE = {"vgg16": 16, "alexnet": 31}
# Index of the first convolution of each block conv1 .. conv5.
_BLOCKS = {"vgg16": (0, 5, 10, 17, 24), "alexnet": (0, 3, 6, 8, 10)}


class NetVladPooling(nn.Module):
    """NetVLAD layer: soft assignment to clusters, sums of differences, intra-normalisation.

    Definition: docs/protocols/netvlad.md, NetVLAD layer.

    ``centroids`` and the weight of ``conv`` are random: both wait for clusters or for a checkpoint.

    Args:
        clusters: K.
        dim: D, channels of the map.
        bias: whether the assignment has a bias (``vladv2``).
        normalise_input: whether local descriptors are brought to unit length first.
    """

    def __init__(self, clusters: int, dim: int, *, bias: bool = False, normalise_input: bool = True) -> None:
        super().__init__()
        self.normalise_input = normalise_input
        self.centroids = nn.Parameter(torch.rand(clusters, dim))
        self.conv = nn.Conv2d(dim, clusters, 1, bias=bias)

    def assign(self, x: torch.Tensor) -> torch.Tensor:
        """Shares (N, K, H*W) of every location's clusters, of a map (N, D, H, W) normalised already."""
        return self.conv(x).flatten(2).softmax(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, D, H, W) -> (N, K*D) of unit length, the D values of cluster 0 first."""
        if self.normalise_input:
            x = F.normalize(x)
        shares = self.assign(x)
        # The sum of a * (x - c) over locations, without a loop over clusters.
        sums = shares @ x.flatten(2).transpose(1, 2) - shares.sum(2)[:, :, None] * self.centroids
        return F.normalize(F.normalize(sums, dim=2).flatten(1))


class GlobalPooling(nn.Module):
    """Maximum or mean of a map over its locations, L2-normalised."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._pool = {"max": F.adaptive_max_pool2d, "avg": F.adaptive_avg_pool2d}[kind]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, D, H, W) -> (N, D) of unit length."""
        return F.normalize(self._pool(x, 1).flatten(1))


class NetVladNet(LevelNetwork):
    """Convolutions up to conv5 without its ReLU, a pooling, and optionally a PCA-whitening.

    Args:
        backbone: ``vgg16`` or ``alexnet`` of torchvision.
        pooling: ``netvlad``, ``max`` or ``avg``.
        clusters: K of the NetVLAD layer.
        bias: whether its assignment has a bias.
        whitening: dimensions of the whitening; None = none.

    Attributes:
        dim: of the descriptors: those of the whitening, K*D, or D.
    """

    level_outputs = MappingProxyType({"descriptors": ()})

    def __init__(
        self,
        backbone: str = "vgg16",
        pooling: str = "netvlad",
        clusters: int = 64,
        bias: bool = False,
        whitening: int | None = None,
    ) -> None:
        super().__init__()
        channels = CHANNELS[backbone]
        self.backbone = backbone
        self.smallest_side = _SMALLEST_SIDE[backbone]
        self.encoder = nn.Sequential(*(_vgg16() if backbone == "vgg16" else _alexnet()))
        self.pool: nn.Module
        if pooling == "netvlad":
            self.pool, self.dim = NetVladPooling(clusters, channels, bias=bias), clusters * channels
        else:
            self.pool, self.dim = GlobalPooling(pooling), channels
        if whitening is not None:
            self.WPCA = nn.Sequential(nn.Conv2d(self.dim, whitening, 1))
            self.dim = whitening

    def local_map(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, D, h, w): local descriptors of unit length, as clusters are made of them."""
        return F.normalize(self.encoder(image))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) float32, normalised -> (N, ``dim``) of unit length."""
        return self._whitened(self.pool(self.encoder(image)))

    def level(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        """:meth:`forward`, as the part that a backend may run."""
        return (self(image),)

    def describe(self, image: torch.Tensor, scales: Sequence[float] = (1.0,)) -> torch.Tensor:
        """Descriptor (1, ``dim``): over a pyramid the mean of its levels, of unit length again.

        The original knows scale 1 only. A scale that would leave no pixel is passed over.
        """
        levels = [level for level in (resize(image, scale) for scale in scales) if level is not None]
        found = [self.run_level(level)[0] for level in levels]
        return found[0] if len(found) == 1 else F.normalize(sum(found))

    def trained_parameters(self, first_layer: str) -> dict[str, nn.Parameter]:
        """Parameters that train, by name, in the order in which the original gives them to its optimiser.

        Args:
            first_layer: lowest trained block ``conv1`` .. ``conv5``, or ``pool`` for the pooling alone
                (pytorch-NetVlad trains from conv5). Blocks below it and a whitening are never trained.
        """
        if first_layer == "pool":
            first = len(self.encoder)
        else:
            first = _BLOCKS[self.backbone][int(first_layer.removeprefix("conv")) - 1]
        layers = [(f"encoder.{i}", layer) for i, layer in enumerate(self.encoder) if i >= first]
        return {
            f"{name}.{key}": parameter
            for name, module in (*layers, ("pool", self.pool))
            for key, parameter in module.named_parameters()
        }

    def _whitened(self, descriptors: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "WPCA"):
            return descriptors
        (convolution,) = self.WPCA
        return F.normalize(F.linear(descriptors, convolution.weight.flatten(1), convolution.bias))


def _vgg16() -> list[nn.Module]:
    """Layers 0 .. 28 of torchvision's ``features``; its classifier would take seconds to draw."""
    return list(models.vgg.make_layers(models.vgg.cfgs["D"]).children())[:-2]


def _alexnet() -> list[nn.Module]:
    """Layers 0 .. 10 of torchvision's ``features``."""
    return [
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
    ]
