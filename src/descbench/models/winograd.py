"""Convolutions of 3 x 3 by Winograd's minimal filtering F(4 x 4, 3 x 3): a quarter of the multiplications.

Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4. A tile of
4 x 4 results comes from 6 x 6 values d and the weights g as A'[(G g G') * (B' d B)]A: transforms around products that
are one matrix multiplication over the channels for each of the 36 places. It pays where there are many channels.

The matrices multiply polynomials by their values at five points and infinity. The usual points 0, +-1, +-2 have twice
the error of these, the best of the symmetric ones tried that float32 holds exactly (see B. Barabasz and others, "Error
Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2020).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.polynomial.polynomial import polyfromroots
from torch import nn

_POINTS = np.array([0, 5 / 8, -5 / 8, 3 / 2, -3 / 2])
_TILE, _TAPS = 4, 3
_WINDOW = _TILE + _TAPS - 1
# Found by measuring the layers of VGG16 and ResNet-50.
_LEAST_CHANNELS = 128 * 256  # in times out
_LEAST_TILES = 16
_BLOCK_TILES = 120  # worked on together: their transforms stay in the cache


def _transforms() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The matrices B' of the input, G of the weights and A' of the results, (6, 6), (6, 3) and (4, 6) float64."""
    others = [np.delete(_POINTS, i) for i in range(len(_POINTS))]
    of_input = [*(np.append(polyfromroots(roots), 0) for roots in others), polyfromroots(_POINTS)]
    lengths = [np.prod(point - roots) for point, roots in zip(_POINTS, others, strict=True)]
    of_weights = np.vander(_POINTS, _TAPS, increasing=True) / np.array(lengths)[:, None]
    of_result = np.vander(_POINTS, _TILE, increasing=True)
    at_infinity = [np.eye(size)[-1:] for size in (_TAPS, _TILE)]
    of_weights, of_result = (np.vstack(pair) for pair in zip((of_weights, of_result), at_infinity, strict=True))
    return tuple(torch.from_numpy(np.array(matrix)) for matrix in (of_input, of_weights, of_result.T))


def _both_ways(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix that transforms the rows and the columns of a flattened tile."""
    return torch.kron(matrix, matrix)


class WinogradConv2d(nn.Module):
    """A convolution's results on the CPU, up to rounding (relative error about 1.3e-6, direct ones: 7e-7).

    Args:
        convolution: as :func:`suits` demands; kept, and used for maps of few tiles.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.direct = convolution
        of_input, of_weights, of_result = map(_both_ways, _transforms())
        weight = convolution.weight.detach().double().permute(2, 3, 1, 0)
        weight = (of_weights @ weight.reshape(_TAPS**2, -1)).float()
        bias = torch.zeros(convolution.out_channels) if convolution.bias is None else convolution.bias.detach()
        self.register_buffer("weight", weight.view(-1, convolution.in_channels, convolution.out_channels))
        self.register_buffer("bias", bias)
        self.register_buffer("of_input", of_input.float())
        self.register_buffer("of_result", of_result.float())

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) float32 -> (N, O, H, W) float32, channels last in memory."""
        count, _, height, width = maps.shape
        down, across = -(-height // _TILE), -(-width // _TILE)
        if count * down * across < _LEAST_TILES:
            return self.direct(maps)
        results = maps.new_empty(count, down, _TILE, across, _TILE, len(self.bias))
        windows = self._windows(maps, down, across)
        rows = max(1, _BLOCK_TILES // (count * across))
        for top in range(0, down, rows):
            block = windows[:, :, :, top : top + rows]
            results[:, top : top + rows] = self._convolve(block).permute(2, 3, 0, 4, 1, 5)
        results = results.view(count, down * _TILE, across * _TILE, -1)[:, :height, :width]
        return results.permute(0, 3, 1, 2)

    def _windows(self, maps: torch.Tensor, down: int, across: int) -> torch.Tensor:
        """The overlapping windows of all tiles, a view: (6, 6, N, down, across, C)."""
        count, channels, height, width = maps.shape
        edges = (0, 0, 1, across * _TILE + 1 - width, 1, down * _TILE + 1 - height)
        padded = F.pad(maps.permute(0, 2, 3, 1), edges).contiguous()
        image, row, pixel, channel = padded.stride()
        shape = (_WINDOW, _WINDOW, count, down, across, channels)
        return padded.as_strided(shape, (row, pixel, image, _TILE * row, _TILE * pixel, channel))

    def _convolve(self, windows: torch.Tensor) -> torch.Tensor:
        """Windows of some tiles (6, 6, N, rows, across, C) -> their results (4, 4, N, rows, across, O)."""
        *places, channels = windows.shape[2:]
        transformed = self.of_input @ windows.reshape(_WINDOW**2, -1)
        products = torch.bmm(transformed.view(_WINDOW**2, -1, channels), self.weight)
        results = (self.of_result @ products.view(_WINDOW**2, -1)).view(_TILE, _TILE, *places, -1)
        return results.add_(self.bias)


def suits(module: nn.Module) -> bool:
    """Whether a module is a 3 x 3 convolution of stride 1 with a border of zeros, and channels enough to gain."""
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == (3, 3)
        and (module.stride, module.padding, module.dilation) == ((1, 1), (1, 1), (1, 1))
        and module.groups == 1
        and module.padding_mode == "zeros"
        and module.in_channels * module.out_channels >= _LEAST_CHANNELS
    )


def use_winograd(network: nn.Module) -> None:
    """Replace the convolutions that :func:`suits` names, in place, for inference alone."""
    for parent in list(network.modules()):
        if isinstance(parent, WinogradConv2d):
            continue
        for name, child in parent.named_children():
            if suits(child):
                setattr(parent, name, WinogradConv2d(child))
