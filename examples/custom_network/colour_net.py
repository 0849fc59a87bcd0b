"""A network of one's own: mean and spread of colours and of brightness edges over a grid, in fifty lines.

Its forward gives (1, D): a global descriptor. For local ones return (1, D, h, w) and attention (h, w).
"""

import torch
import torch.nn.functional as F
from torch import nn


class ColourNet(nn.Module):
    """Colours and edges of an image, averaged in cells.

    Args:
        cells: of the grid, in each direction.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells
        edges = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
        self.register_buffer("edges", torch.stack([edges, edges.T])[:, None])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(1, 3, H, W) -> (1, 8 * cells^2)."""
        brightness = image.mean(1, keepdim=True)
        strength = F.conv2d(brightness, self.edges, padding=1).abs()
        maps = torch.cat([image - brightness, strength, (image - image.mean((2, 3), keepdim=True)).abs()], 1)
        cells = F.adaptive_avg_pool2d(maps, self.cells)
        return (cells - cells.mean((2, 3), keepdim=True)).flatten(1)


def colour_net(cells: int = 4) -> nn.Module:
    """What the configuration names."""
    return ColourNet(cells)
