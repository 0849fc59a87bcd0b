"""SuperPoint: keypoints of a grey image and 256 numbers of each (docs/protocols/hndesc.md, SuperPoint).

Keys of the state dict are those of the published checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from descbench.models.points import FoundPoints, PointNetwork, best_first, sample_map

CELL = 8
DIM = 256
_NAMES = ("conv1a", "conv1b", "conv2a", "conv2b", "conv3a", "conv3b", "conv4a", "conv4b")
_CHANNELS = (1, 64, 64, 64, 64, 128, 128, 128, 128)
# Whether -1 and 1 are the middles of the first and last cell, and whether x and y are exchanged
# (docs/protocols/hndesc.md, SuperPoint).
SAMPLINGS = {"aligned": (True, False), "edges": (False, False), "swapped": (False, True)}
_POOLED_AFTER = ("conv1b", "conv2b", "conv3b")


class SuperPoint(PointNetwork):
    """The network, and which points of its heat map are keypoints.

    Args:
        nms_radius: pixels in which a keypoint has the highest score.
        threshold: scores of keypoints are above it.
        remove_borders: pixels along the borders of the heat map where there are no keypoints.
        sampling: how descriptors are read between the cells of the map, see :data:`SAMPLINGS`.
    """

    level_outputs: ClassVar = {"heatmap": (1, 2), "dense": (2, 3)}
    channels = 1
    smallest_side = CELL
    dim = DIM
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)

    def __init__(
        self, nms_radius: int = 3, threshold: float = 0.005, remove_borders: int = 4, sampling: str = "aligned"
    ) -> None:
        super().__init__()
        self.nms_radius, self.threshold, self.remove_borders = nms_radius, threshold, remove_borders
        self.align_corners, self.swapped = SAMPLINGS[sampling]
        for name, before, after in zip(_NAMES, _CHANNELS[:-1], _CHANNELS[1:], strict=True):
            self.add_module(name, nn.Conv2d(before, after, 3, padding=1))
        self.convPa, self.convPb = nn.Conv2d(128, 256, 3, padding=1), nn.Conv2d(256, CELL**2 + 1, 1)
        self.convDa, self.convDb = nn.Conv2d(128, 256, 3, padding=1), nn.Conv2d(256, DIM, 1)

    def level(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heat map (1, 8 h, 8 w) and descriptors (1, 256, h, w) of unit length of (1, 1, H, W) grey in 0..1.

        h and w are H / 8 and W / 8, rounded down.
        """
        found = image
        for name in _NAMES:
            found = F.relu(getattr(self, name)(found))
            if name in _POOLED_AFTER:
                found = F.max_pool2d(found, 2)
        scores = F.softmax(self.convPb(F.relu(self.convPa(found))), 1)[:, :-1]
        dense = self.convDb(F.relu(self.convDa(found)))
        return F.pixel_shuffle(scores, CELL)[:, 0], F.normalize(dense, dim=1)

    def find_points(self, image: torch.Tensor, most: int | None = None) -> FoundPoints:
        """Keypoints in the order of rows; where there are more than ``most``, the best ones, best first."""
        heatmap, dense = self.run_level(image)
        points, scores = self.select(suppress(heatmap[0], self.nms_radius), most)
        return FoundPoints(points, torch.full_like(scores, CELL), scores, self.sample(dense, points))

    def describe_points(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, 256) of unit length at points of an image (1, 1, H, W)."""
        return self.sample(self.run_level(image)[1], points)

    def select(self, heatmap: torch.Tensor, most: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Keypoints (n, 2) x, y float32 of a suppressed heat map (H, W), and their scores (n,).

        Of equal scores the earlier ones, by rows, are kept.
        """
        border = self.remove_borders
        inside = torch.zeros_like(heatmap, dtype=torch.bool)
        inside[border : max(border, heatmap.shape[0] - border), border : max(border, heatmap.shape[1] - border)] = True
        rows, columns = torch.nonzero((heatmap > self.threshold) & inside, as_tuple=True)
        scores = heatmap[rows, columns]
        points = torch.stack((columns, rows), 1).float()
        if most is not None and len(points) > most:
            kept = best_first(scores, most)
            points, scores = points[kept], scores[kept]
        return points, scores

    def sample(self, dense: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, 256) of unit length at points, from a map (1, 256, h, w)."""
        height, width = dense.shape[-2:]
        half = CELL / 2 - 0.5
        extent = torch.tensor([width * CELL - half - 1, height * CELL - half - 1], dtype=torch.float32)
        places = (points - half) / extent.to(points.device) * 2 - 1
        return sample_map(dense, places.flip(1) if self.swapped else places, align_corners=self.align_corners)


def suppress(heatmap: torch.Tensor, radius: int) -> torch.Tensor:
    """Scores of points that are the highest within ``radius`` pixels, zero elsewhere.

    Twice, points that lie beside no such point are looked at again (docs/protocols/hndesc.md, SuperPoint).

    Args:
        heatmap: (H, W) float32.
        radius: pixels.
    """
    scores = heatmap[None]

    def highest(values: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(values, 2 * radius + 1, stride=1, padding=radius)

    kept = scores == highest(scores)
    for _ in range(2):
        beside = highest(kept.float()) > 0
        rest = scores.masked_fill(beside, 0)
        kept |= (rest == highest(rest)) & ~beside
    return scores.masked_fill(~kept, 0)[0]
