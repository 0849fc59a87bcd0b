"""Networks of points of the user's own: they find keypoints of an image, describe points of it, or both.

``forward(image)`` of (1, C, H, W) finds points. It gives a tuple (points, strengths) or, of a network that describes
what it finds, (points, strengths, descriptors); or a dictionary of these, as ``keypoints``, ``scores`` (or
``keypoint_scores``) and ``descriptors``, with ``sizes`` (N,) in pixels where it knows them. Points are (N, 2) x, y in
pixels, of which the middle of the first one is 0, 0; strengths are (N,), descriptors (N, dim). Each may come with a
first axis of one image.

``describe(image, points)`` gives descriptors (N, dim) of points that something else found; ``forward(image, points)``
does of a network that finds none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from descbench.config.custom_contracts import PointContract
from descbench.custom_modules import user_code
from descbench.errors import ConfigError
from descbench.models.points import FoundPoints, PointNetwork, best_first

_POINTS, _SCORES, _DESCRIPTORS, _SIZES = "keypoints", "scores", "descriptors", "sizes"
_IN_ORDER = (_POINTS, _SCORES, _DESCRIPTORS)
_AXES = {_POINTS: 2, _SCORES: 1, _DESCRIPTORS: 2, _SIZES: 1}
_WANTED = "wanted are (points, strengths), or a dictionary with `keypoints` and `scores`"
_SIDES, _SQUARE = (96, 128), 16  # of the image that a network is tried on


class CustomPointNet(PointNetwork):
    """A module that finds keypoints, describes points, or both, as its contract says.

    Args:
        module: of the user's.
        factory: that made it, for messages.
        contract: what it takes and gives.

    Raises:
        ConfigError: the contract says that it describes given points, and it has no method for these.
    """

    rewritable = False

    def __init__(self, module: nn.Module, factory: str, contract: PointContract) -> None:
        super().__init__()
        self.module, self._factory, self._contract = module, factory, contract
        self.channels, self.dim = contract.channels, contract.dim or 0
        self.mean, self.std = (0.0,) * contract.channels, (1.0,) * contract.channels
        if contract.describes == "given":
            self._describer()

    def level(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Points (N, 2), strengths (N,), sizes (N,) and, where it gives them, descriptors (N, dim) of an image.

        Raises:
            ConfigError: the user's code fails, or gives something else.
        """
        found = self._find(image)
        self._check_places(found, image)
        return tuple(value for value in found.values() if value is not None)

    def find_points(self, image: torch.Tensor, most: int | None = None) -> FoundPoints:
        """Points of an image (1, C, H, W), best first; where it describes, with descriptors of unit length.

        Raises:
            ConfigError: the user's code fails, or gives something else.
        """
        if not self._contract.detects:
            raise ConfigError(f"{self._factory}: finds no points, as `points.detects: false` says.")
        # Code that changes its input may not change what points are then described by.
        points, scores, sizes, *rows = self.run_level(image.clone())
        kept = best_first(scores, most)
        points = points[kept]
        if rows:
            descriptors = F.normalize(rows[0][kept], dim=1)
        else:
            descriptors = self.describe_points(image, points) if self._contract.describes else None
        return FoundPoints(points, sizes[kept], scores[kept], descriptors)

    def describe_points(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, dim) of unit length at points of an image (1, C, H, W).

        Raises:
            ConfigError: the user's code fails, or gives something else.
        """
        rows = self._describe(image, points)
        self._check_finite(_DESCRIPTORS, rows, image)
        return F.normalize(rows, dim=1)

    def try_out(self) -> None:
        """Ask the network once what it gives; values, which weights decide that may come later, are not looked at.

        Raises:
            ConfigError: the user's code fails, or gives something else than its contract says.
        """
        image = _example().repeat(1, self.channels, 1, 1)
        with torch.inference_mode():
            if self._contract.detects:
                self._find(image.clone())
            if self._contract.describes == "given":
                self._describe(image, torch.tensor([[0.0, 0.0], [31.5, 47.5], [127.0, 95.0]]))

    def _find(self, image: torch.Tensor) -> dict[str, torch.Tensor | None]:
        """Points, strengths, sizes and descriptors of an image, the last as None where there are none."""
        with user_code(self._factory, f"failed on an image {tuple(image.shape)}"):
            given = self.module(image)
        parts = self._parts(given, image)
        points = self._tensor(_POINTS, parts, image, 2)
        scores = self._tensor(_SCORES, parts, image, None, points)
        sizes = torch.full_like(scores, self._contract.size)
        if parts.get(_SIZES) is not None:
            sizes = self._tensor(_SIZES, parts, image, None, points)
        rows = None
        if self._contract.describes == "found" or (self.dim and parts.get(_DESCRIPTORS) is not None):
            rows = self._tensor(_DESCRIPTORS, parts, image, self.dim, points)
        return {_POINTS: points, _SCORES: scores, _SIZES: sizes, _DESCRIPTORS: rows}

    def _describe(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, dim) of given points, as the module gives them."""
        if self._contract.describes != "given":
            raise ConfigError(f"{self._factory}: describes no points that it is given; set `points.describes: given`.")
        if not len(points):
            return image.new_zeros(0, self.dim)
        with user_code(self._factory, f"failed on an image {tuple(image.shape)} and {len(points)} points"):
            given = self._describer()(image, points.clone())
        parts = _alone(given)
        parts = parts if isinstance(parts, Mapping) else {_DESCRIPTORS: parts}
        return self._tensor(_DESCRIPTORS, parts, image, self.dim, points)

    def _describer(self) -> Callable[..., Any]:
        found = getattr(self.module, "describe", None)
        if callable(found):
            return found
        if self._contract.detects:
            raise ConfigError(
                f"{self._factory}: the module has no method `describe(image, points)`, which `points.describes: given` "
                "of a network that detects is about."
            )
        return self.module

    def _parts(self, given: Any, image: torch.Tensor) -> Mapping[str, Any]:
        """What the module gives of an image, by name."""
        found = _alone(given)
        if isinstance(found, Mapping):
            return {_SCORES: found.get("keypoint_scores"), **found}
        if isinstance(found, tuple | list) and 2 <= len(found) <= len(_IN_ORDER):
            return dict(zip(_IN_ORDER, found, strict=False))
        kind = type(found).__name__
        what = f"a {kind} of {len(found)}" if isinstance(found, tuple | list) else f"a {kind}"
        raise self._wrong(image, f"gives {what}; {_WANTED}")

    def _tensor(
        self,
        name: str,
        parts: Mapping[str, Any],
        image: torch.Tensor,
        width: int | None,
        points: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """A part as float32, of so many columns (None: a number each), and as long as there are points."""
        value = _of_one_image(parts.get(name), _AXES[name])
        if value is None:
            raise self._wrong(image, f"gives no `{name}`; {_WANTED}{self._also()}")
        if not isinstance(value, torch.Tensor):
            raise self._wrong(image, f"gives `{name}` as a {type(value).__name__}, not a tensor")
        if not value.is_floating_point():
            raise self._wrong(image, f"gives `{name}` of {value.dtype}; floating-point tensors are needed")
        if value.device != image.device:
            raise self._wrong(image, f"gives `{name}` on {value.device}, and is given the image on {image.device}")
        count = len(points) if points is not None else value.shape[0] if value.ndim else "N"
        wanted = (count,) if width is None else (count, width)
        if tuple(value.shape) != wanted:
            of = "" if points is None else f" of {len(points)} points"
            told = f"(N, {width})" if points is None else f"{wanted}"
            told += " by `points.dim`" if name == _DESCRIPTORS else ""
            raise self._wrong(image, f"gives `{name}` {tuple(value.shape)}{of}; wanted is {told}")
        return value.float()

    def _check_places(self, found: Mapping[str, torch.Tensor | None], image: torch.Tensor) -> None:
        """Refuse what is not finite, places outside the image, and sizes of nothing."""
        for name, values in found.items():
            if values is not None:
                self._check_finite(name, values, image)
        points, sizes = found[_POINTS], found[_SIZES]
        height, width = image.shape[-2:]
        last = torch.tensor([width - 0.5, height - 0.5], device=points.device)
        outside = ((points < -0.5) | (points > last)).any(1)
        if outside.any():
            x, y = points[outside][0].tolist()
            raise self._wrong(
                image,
                f"gives {int(outside.sum())} of {len(points)} points outside the image, the first at x {x:g}, y {y:g}; "
                "x comes first, the middle of the first pixel is 0, 0",
            )
        if (sizes <= 0).any():
            raise self._wrong(image, f"gives `{_SIZES}` down to {sizes.min():g}; all are above 0")

    def _check_finite(self, name: str, values: torch.Tensor, image: torch.Tensor) -> None:
        if not torch.isfinite(values).all():
            raise self._wrong(image, f"gives `{name}` with NaN or infinity")

    def _also(self) -> str:
        return ", and `descriptors` by `points.describes: found`" if self._contract.describes == "found" else ""

    def _wrong(self, image: torch.Tensor, what: str) -> ConfigError:
        return ConfigError(f"{self._factory}: of an image {tuple(image.shape)} it {what}.")


def _example() -> torch.Tensor:
    """(1, 1, H, W) in 0..1: a chessboard out of focus, darker to the right and below, so that few pixels are alike."""
    rows, columns = (torch.arange(side) for side in _SIDES)
    board = ((rows[:, None] // _SQUARE + columns // _SQUARE) % 2).float()[None, None]
    blurred = F.avg_pool2d(board, 9, 1, 4, count_include_pad=False)
    return blurred * (1 - (rows[:, None] + 2 * columns) / (2 * sum(_SIDES)))


def _alone(found: Any) -> Any:
    """What a list of one image holds."""
    return found[0] if isinstance(found, tuple | list) and len(found) == 1 else found


def _of_one_image(value: Any, axes: int) -> Any:
    """A tensor without a first axis of one image."""
    value = _alone(value)
    if isinstance(value, torch.Tensor) and value.ndim == axes + 1 and value.shape[0] == 1:
        return value[0]
    return value
