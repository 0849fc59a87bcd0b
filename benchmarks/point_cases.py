"""Row of networks of points: R2D2 over its image pyramid, the plain network and what extraction runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.case import Case
from benchmarks.extract_cases import draw_images, networks_by_backend, seconds_of
from descbench.config.point_networks import R2D2Model
from descbench.models.checkpoints import convert_checkpoint, load_network
from descbench.models.points import FoundPoints
from descbench.models.r2d2 import R2D2

# Random weights find enough points at low limits.
_MODEL = R2D2Model.model_validate(
    {
        "architecture": "r2d2",
        "min_size": 0,
        "min_scale": 0.3,
        "repeatability": 0.3,
        "weights": {"source": "random", "seed": 0},
    }
)
_MOST = 5000
_TOLERANCE = 1e-4


def point_cases(side: int, folder: Path) -> Iterator[Case]:
    """Row ``extract_r2d2``, by the fastest backend installed.

    Args:
        side: longer side of the image in pixels.
        folder: where the checkpoint may lie meanwhile.
    """
    checkpoint = folder / "r2d2.pt"
    convert_checkpoint(_MODEL, None, checkpoint)
    image = draw_images(side)[0]
    plain, networks = load_network(checkpoint, _MODEL), networks_by_backend(checkpoint, _MODEL)

    @torch.inference_mode()
    def find(network: R2D2) -> FoundPoints:
        return network.find_points(image, _MOST)

    fastest = min(networks, key=lambda name: seconds_of(lambda: find(networks[name])))
    height, width = image.shape[-2:]
    yield Case(
        "extract_r2d2",
        lambda: find(plain),
        lambda: find(networks[fastest]),
        same_points,
        f"an image of {width} x {height} pixels, scales 1 to 0.3, by {fastest}; installed: {', '.join(networks)}; "
        "plain: the eager network",
    )


def same_points(theirs: FoundPoints, ours: FoundPoints) -> bool:
    """Whether both found the same points with the same descriptors, but for what rounding exchanges at a limit."""
    one, other = (dict(zip(_keys(found), found.descriptors, strict=True)) for found in (theirs, ours))
    exchanged = one.keys() ^ other.keys()
    return len(exchanged) <= max(2, len(one) // 200) and all(
        (one[key] - other[key]).norm() <= _TOLERANCE for key in one.keys() & other.keys()
    )


def _keys(found: FoundPoints) -> list[tuple[float, ...]]:
    rows = torch.cat([found.points, found.sizes[:, None]], 1)
    return [tuple(round(value, 3) for value in row) for row in rows.tolist()]
