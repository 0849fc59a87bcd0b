"""Networks of local descriptors: a pyramid of maps, and the strongest cells of all of them.

Definition: docs/protocols/how.md, Image pyramid; docs/protocols/how.md, Local descriptors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F

from descbench.models.levels import LevelNetwork


@dataclass(frozen=True)
class LocalDescriptors:
    """Local descriptors of one image, strongest first.

    Attributes:
        descriptors: (n, D) float32.
        strengths: (n,) float32 attention; with relative attention the strongest cell of the image has 1.
        locations: (n, 2) int16 x, y in cells of the map of the descriptor's own scale.
        scales: (n,) float16, as the original stores them (1.414 -> 1.4140625).
        scale_indexes: (n,) int64, position in the list of scales.
    """

    descriptors: torch.Tensor
    strengths: torch.Tensor
    locations: torch.Tensor
    scales: torch.Tensor
    scale_indexes: torch.Tensor


class LocalNetwork(LevelNetwork):
    """A network whose ``level`` gives descriptors (1, D, h, w) and attention (h, w) of one level of the pyramid.

    Attributes:
        dim: D, set by the subclass.
        stride: pixels of a level for each cell of its map, set by the subclass.
        recompute_scale: whether resizing goes by the ratio of the actual sizes, or by the scale itself.
        relative_attention: whether attention is divided by its maximum over all scales of the image.
    """

    dim: int
    stride: int
    level_outputs = MappingProxyType({"descriptors": (2, 3), "attention": (0, 1)})
    recompute_scale = True
    relative_attention = True

    def maps(self, image: torch.Tensor, scales: Sequence[float]) -> list[tuple[torch.Tensor, torch.Tensor] | None]:
        """Descriptor map and raw attention of every scale.

        Args:
            image: (1, 3, H, W) normalised.
            scales: pyramid; a scale that would leave no pixel gives None (the original fails there).

        Returns:
            Per scale ``(descriptors (1, D, h, w), attention (h, w))``.
        """
        levels = [resize(image, scale, recompute=self.recompute_scale) for scale in scales]
        return [None if level is None else self.run_level(level) for level in levels]

    def normalised_maps(self, image: torch.Tensor, scales: Sequence[float]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """As :meth:`maps`, with every attention divided by the maximum over all scales, if it is relative."""
        empty = image.new_zeros((1, self.dim, 0, 0)), image.new_zeros((0, 0))
        maps = [empty if item is None else item for item in self.maps(image, scales)]
        if not self.relative_attention:
            return maps
        strongest = torch.stack([attention.max() for _, attention in maps if attention.numel()]).max()
        return [(descriptors, attention / strongest) for descriptors, attention in maps]

    def local(self, image: torch.Tensor, scales: Sequence[float], n: int | None) -> LocalDescriptors:
        """The n strongest local descriptors over all scales jointly; all of them for ``n=None``."""
        maps = self.normalised_maps(image, scales)
        return select_local([d for d, _ in maps], [a for _, a in maps], scales, n)

    def keypoints(self, found: LocalDescriptors, scales: Sequence[float], size: tuple[int, int]) -> torch.Tensor | None:
        """Places of local descriptors in pixels of an input image (H, W): (n, 2) float32 x, y."""
        return cell_centres(found.locations, found.scale_indexes, scales, self.stride, size)

    def describe(self, image: torch.Tensor, scales: Sequence[float] = (1.0,)) -> torch.Tensor:
        """Global descriptor: (1, D), the attention-weighted sum over scales and locations, L2-normalised."""
        maps = self.normalised_maps(image, scales)
        return weighted_sum([d for d, _ in maps], [a for _, a in maps])


def resize(image: torch.Tensor, scale: float, *, recompute: bool = True) -> torch.Tensor | None:
    """One level of the pyramid: (1, 3, floor(H s), floor(W s)), or None when a side would vanish.

    Bilinear without antialias. Scale 1 is an exact copy.

    Args:
        image: (1, 3, H, W).
        scale: s.
        recompute: sample by the ratio of the actual sizes, as HOW does; else by the scale itself, as FIRe does
            (docs/protocols/fire.md, Image pyramid). They agree where H s and W s are whole.
    """
    if min(int(side * scale) for side in image.shape[-2:]) < 1:
        return None
    return F.interpolate(
        image, scale_factor=scale, mode="bilinear", align_corners=False, recompute_scale_factor=recompute
    )


def select_local(
    maps: Sequence[torch.Tensor], attentions: Sequence[torch.Tensor], scales: Sequence[float], n: int | None
) -> LocalDescriptors:
    """Choose the n strongest cells over all scales jointly.

    Cells are listed scale by scale, each map row by row; the sort is stable, so that equal strengths
    keep this order on every machine (the original's order of ties is arbitrary).

    Args:
        maps: per scale (1, D, h, w).
        attentions: per scale (h, w).
        scales: one number per map.
        n: how many to keep; None keeps all, sorted.
    """
    descriptors = torch.cat([m.flatten(2).squeeze(0).T for m in maps])
    strengths = torch.cat([a.flatten() for a in attentions])
    cells = [_cells(*a.shape, a.device) for a in attentions]
    indexes = torch.cat([a.new_full((a.numel(),), i, dtype=torch.int64) for i, a in enumerate(attentions)])
    order = torch.argsort(strengths, descending=True, stable=True)[:n]
    half = torch.tensor(list(scales), dtype=torch.float16, device=strengths.device)
    return LocalDescriptors(
        descriptors[order], strengths[order], torch.cat(cells)[order], half[indexes[order]], indexes[order]
    )


def weighted_sum(maps: Sequence[torch.Tensor], attentions: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum of attention times descriptor over all maps, divided by (its norm + 1e-6): (1, D)."""
    total = sum((m * a).flatten(2).sum(-1) for m, a in zip(maps, attentions, strict=True))
    return total / (total.norm(dim=1, keepdim=True) + 1e-6)


def cell_centres(
    locations: torch.Tensor, scale_indexes: torch.Tensor, scales: Sequence[float], stride: int, size: tuple[int, int]
) -> torch.Tensor:
    """Centres of feature-map cells in pixels of the network's input image.

    Args:
        locations: (n, 2) x, y in cells.
        scale_indexes: (n,) position in ``scales``.
        scales: the pyramid.
        stride: pixels of the resized image per cell.
        size: (H, W) of the input image; the true ratio is floor(H s) / H, not s.

    Returns:
        (n, 2) float32 x, y; pixel centres lie at half-integers.
    """
    height, width = size
    ratios = torch.tensor(
        [[max(int(width * s), 1) / width, max(int(height * s), 1) / height] for s in scales], device=locations.device
    )
    return (locations.float() + 0.5) * stride / ratios[scale_indexes]


def _cells(height: int, width: int, device: torch.device) -> torch.Tensor:
    """x, y of every cell in row-major order: (height * width, 2) int16."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1).to(torch.int16)
