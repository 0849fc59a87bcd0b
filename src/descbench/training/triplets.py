"""Triplets of patches, drawn as the original draws them, number by number (docs/protocols/hardnet.md, Triplets).

The stream is that of numpy's RandomState. A call of ``randint`` takes about 5 microseconds, and an epoch needs 40
million; its legacy rule (bits of the next 32 below the smallest power of 2 that suffices, drawn anew where they are too
large) is therefore followed here on numbers that are taken in bulk.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Bounds = Literal["all", "all_but_last"]

_BULK = 1 << 16


def draw_triplets(
    labels: np.ndarray, count: int, batch: int, random: np.random.RandomState, bounds: Bounds = "all"
) -> np.ndarray:
    """Draw pairs of patches of the same point, each with a patch of another one.

    A point has at most one pair in each batch of consecutive triplets.

    Args:
        labels: (N,) int64 point of each patch, numbers from 0 without gaps.
        count: of triplets.
        batch: of pairs.
        random: stream, which goes on where the last draw ended.
        bounds: ``all_but_last``: the last point, and the last patch of a point, are never drawn, as in the original's
            older programs.

    Returns:
        (count, 3) int64 patches: anchor, positive, negative.

    Raises:
        ValueError: gaps in the numbers, a point with too few patches, or fewer points than a batch has pairs.
    """
    cut = {"all": 0, "all_but_last": 1}[bounds]
    patches, starts, sizes = _by_point(labels)
    _check(sizes, batch, cut)
    stream, last_point = _Stream(random), len(sizes) - 1 - cut
    used: set[int] = set()
    triplets = np.empty((count, 3), np.int64)
    starts, sizes = starts.tolist(), sizes.tolist()
    for row in triplets:
        if len(used) >= batch:
            used.clear()
        point = stream.below(last_point)
        while point in used:
            point = stream.below(last_point)
        used.add(point)
        other = stream.below(last_point)
        while other == point:
            other = stream.below(last_point)
        first, second = 0, 1
        if sizes[point] != 2:
            last = sizes[point] - 1 - cut
            first = second = stream.below(last)
            while second == first:
                second = stream.below(last)
        third = stream.below(sizes[other] - 1 - cut)
        row[:] = starts[point] + first, starts[point] + second, starts[other] + third
    stream.close()
    return patches[triplets]


def _by_point(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patches sorted by point, in the order of the set within each; where a point begins, and how many it has."""
    if labels.max(initial=0) >= len(labels):  # before memory is taken for it
        raise ValueError(f"no patch shows some of the points below {labels.max()}: there are {len(labels)} patches")
    sizes = np.bincount(labels)
    return np.argsort(labels, kind="stable"), np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes


def _check(sizes: np.ndarray, batch: int, cut: int) -> None:
    if not sizes.all():
        raise ValueError(f"no patch shows point {sizes.argmin()}, but points above it have patches")
    usable = len(sizes) - cut
    few = np.flatnonzero((sizes != 2) & (sizes < 2 + cut))
    # Those that are never drawn do not matter.
    few = few[few < usable]
    if len(few):
        raise ValueError(f"point {few[0]} has {sizes[few[0]]} patches, too few for a pair")
    if usable < max(batch, 2):
        raise ValueError(f"{usable} points are fewer than the {max(batch, 2)} of a batch")


class _Stream:
    """Whole numbers as ``RandomState.randint`` gives them, one at a time."""

    def __init__(self, random: np.random.RandomState) -> None:
        self._random, self._start = random, random.get_state()
        self._taken, self._numbers, self._next = 0, [], 0

    def below(self, last: int) -> int:
        """One of 0 to ``last``; nothing is taken from the stream for 0."""
        if last == 0:
            return 0
        mask = (1 << last.bit_length()) - 1
        while (found := self._take() & mask) > last:
            pass
        return found

    def _take(self) -> int:
        if self._next == len(self._numbers):
            self._taken += self._next
            self._numbers = self._draw(_BULK).tolist()
            self._next = 0
        self._next += 1
        return self._numbers[self._next - 1]

    def _draw(self, count: int) -> np.ndarray:
        return self._random.randint(0, 1 << 32, count, np.uint32)

    def close(self) -> None:
        """Leave the generator where it would stand had each number been drawn by itself."""
        self._random.set_state(self._start)
        left = self._taken + self._next
        while left:
            step = min(left, _BULK)
            self._draw(step)
            left -= step
