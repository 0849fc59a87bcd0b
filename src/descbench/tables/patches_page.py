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
from descbench.tables.pages import write_page


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
class ShownPart:
    """A part of the patch set: what counts as a false positive in it, and the worst pairs of both kinds."""

    name: str
    rule: str
    false_positives: tuple[ShownPair, ...]
    missed: tuple[ShownPair, ...]


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
        pairs: most pairs of each kind that are shown of a part.

    Raises:
        StaleFileError: descriptors of other patches.
        DataError: a damaged file, or a part whose list lacks right or wrong pairs.
    """
    found = read_described(patches, descriptors)
    arrays = found.arrays()
    parts = [_part(name, part, arrays[name], distance, pairs) for name, part in found.patches.items()]
    write_page(output, "patches.html.jinja", title=f"{method} on {patch_set}", parts=parts)


def _part(name: str, part: Patches, descriptors: np.ndarray, distance: str, most: int) -> ShownPart:
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
    shown = (
        tuple(_pair(int(number), part, float(distances[number])) for number in chosen[:most])
        for chosen in (wrong, missed)
    )
    return ShownPart(name, rule, *shown)


def _pair(number: int, part: Patches, distance: float) -> ShownPair:
    first, second = part.labels.pairs[number].tolist()
    return ShownPair(number, distance, (first, second), (_picture(part, first), _picture(part, second)))


def _picture(part: Patches, patch: int) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(part.patches[patch])).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
