"""A page of a descriptor of patches to look at: pairs that it takes for what they are not, side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from descbench.datasets.patch_sets import Patches
from descbench.errors import DataError
from descbench.metrics.fpr95 import threshold
from descbench.metrics.hpatches_distances import pair_distances
from descbench.metrics.patch_protocols import read_described
from descbench.tables.listed_queries import ROOM
from descbench.tables.pages import write_page

# Characters of a pair in a list.
_LINE = 100


@dataclass(frozen=True)
class ShownPair:
    """A pair on the page.

    Attributes:
        number: of the pair in the list, from 0.
        distance: of its descriptors.
        patches: numbers of its two patches.
        pictures: data addresses of both.
    """

    number: int
    distance: float
    patches: tuple[int, int]
    pictures: tuple[str, str]


@dataclass(frozen=True)
class ListedPair:
    """A pair in a list without pictures; attributes as of :class:`ShownPair`."""

    number: int
    distance: float
    patches: tuple[int, int]


@dataclass(frozen=True)
class ShownPairs:
    """Pairs of a kind, the worst first: those with pictures, the next ones without, and how many are left out."""

    shown: tuple[ShownPair, ...]
    listed: tuple[ListedPair, ...]
    left_out: int


@dataclass(frozen=True)
class ShownPart:
    """A part of the patch set: what counts as a false positive in it, and the worst pairs of both kinds."""

    name: str
    rule: str
    false_positives: ShownPairs
    missed: ShownPairs


def show_patches(
    patches: Sequence[Path],
    descriptors: Sequence[Path],
    distance: str,
    output: Path,
    *,
    method: str,
    patch_set: str,
    pairs: int = 24,
) -> None:
    """Write a page that needs no other file: for each part the wrong pairs nearest to each other, which pass as right,
    and the right pairs farthest from each other, which the threshold of 95 % recall leaves out.

    Args:
        patches: parts of a patch set that lists test pairs.
        descriptors: of the same parts, in the same order.
        distance: ``L2`` or ``L1``.
        output: the page (HTML).
        method, patch_set: names for the heading.
        pairs: most pairs of each kind that have pictures, of a part; the others are listed.

    Raises:
        StaleFileError: descriptors of other patches.
        DataError: a damaged file, or a part whose list lacks right or wrong pairs.
    """
    found = read_described(patches, descriptors)
    arrays = found.arrays()
    # Both kinds of all parts have the same room, so that the page stays below 5 MB.
    lines = ROOM // 2 // len(found.patches) // _LINE
    parts = [_part(name, part, arrays[name], distance, (pairs, lines)) for name, part in found.patches.items()]
    write_page(output, "patches.html.jinja", title=f"{method} on {patch_set}", parts=parts)


def _part(name: str, part: Patches, descriptors: np.ndarray, distance: str, most: tuple[int, int]) -> ShownPart:
    labels, right = part.labels, part.labels.matches != 0
    if not 0 < right.sum() < len(right):
        raise DataError(f"part {name}: {right.sum()} of {len(right)} test pairs match; both kinds are needed.")
    distances = pair_distances(descriptors, labels.pairs[:, 0], [labels.pairs[:, 1]], distance)[0]
    limit, passed = threshold(distances, labels.matches)
    order = np.argsort(distances, kind="stable")
    wrong = order[passed[order] & ~right[order]]
    missed = order[~passed[order] & right[order]][::-1]
    rule = (
        f"95 % of the {right.sum()} right pairs are at most {limit:.4g} apart. So are {len(wrong)} of the "
        f"{(~right).sum()} wrong pairs ({100 * len(wrong) / (~right).sum():.2f} %); {len(missed)} right "
        "pairs are missed."
    )
    return ShownPart(name, rule, *(_pairs(chosen, part, distances, *most) for chosen in (wrong, missed)))


def _pairs(chosen: np.ndarray, part: Patches, distances: np.ndarray, pictured: int, lines: int) -> ShownPairs:
    """Pairs (n,) of a kind, so many of them with pictures and so many without."""
    numbers = chosen[: pictured + lines].tolist()
    all_of = [ListedPair(n, float(distances[n]), tuple(part.labels.pairs[n].tolist())) for n in numbers]
    shown = [
        ShownPair(pair.number, pair.distance, pair.patches, tuple(_picture(part, patch) for patch in pair.patches))
        for pair in all_of[:pictured]
    ]
    return ShownPairs(tuple(shown), tuple(all_of[pictured:]), len(chosen) - len(all_of))


def _picture(part: Patches, patch: int) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(part.patches[patch])).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
