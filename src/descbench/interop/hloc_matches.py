"""Matches files of hloc (docs/interop.md, hloc's files).

A group a pair, ``<name0>/<name1>`` with ``-`` for each ``/`` of the names, with ``matches0 (N0,)``: for each feature
of the first image the one of the second, or -1; and ``matching_scores0 (N0,)`` in 0..1.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from descbench.errors import DataError
from descbench.interop.exchanged import ExchangedMatches
from descbench.io.hloc_files import HlocGroups, created_hloc, opened_hloc, put
from descbench.io.kinds import shorten
from descbench.listing import listed

WHAT = "matches file"


def pair_group(first: str, second: str) -> str:
    """Name of the group of a pair."""
    return "/".join((first.replace("/", "-"), second.replace("/", "-")))


def write_hloc_matches(pairs: Iterable[tuple[str, str, int, ExchangedMatches]], path: Path) -> int:
    """Write a matches file of hloc.

    Args:
        pairs: names of the two images, number of features of the first, and matches with scores in -1..1 (cosines),
            which hloc has as (score + 1) / 2. A feature of the first image has at most one.
        path: the file.

    Returns:
        number of pairs.

    Raises:
        DataError: two pairs that hloc cannot tell apart, a match of a feature that is not there or of one that has
            another match too, or a full disk.
    """
    groups: dict[str, tuple[str, str]] = {}
    with created_hloc(path) as file:
        for first, second, count, found in pairs:
            name = pair_group(first, second)
            if name in groups:
                both = " and ".join(listed(map(shorten, pair)) for pair in (groups[name], (first, second)))
                raise DataError(
                    f"{path}: the pairs {both}"
                    " have the same name in hloc, which writes - for / in names; rename an image."
                )
            groups[name] = first, second
            features = found.indices[:, 0]
            if len(np.unique(features)) < len(features) or (features >= count).any():
                raise DataError(f"{path}: {shorten(name)}: a feature with two matches, or one beyond the {count}.")
            matches, scores = np.full(count, -1, np.int32), np.zeros(count, np.float32)
            matches[features], scores[features] = found.indices[:, 1], (found.scores + 1) / 2
            group = file.create_group(name)
            put(group, "matches0", matches)
            put(group, "matching_scores0", scores)
    return len(groups)


def read_hloc_matches(path: Path, pairs: Iterable[tuple[str, str]]) -> list[ExchangedMatches]:
    """Matches of pairs of images by name, by feature of the first image; scores in -1..1.

    A pair that is stored the other way round is turned; the group names of older versions of hloc
    (``<name0>_<name1>``) are found too.

    Raises:
        DataError: no such file, a damaged one, a pair that it lacks, scores outside of 0..1 or NaN, or features that
            are none.
    """
    with opened_hloc(path, WHAT) as groups:
        return [_read_pair(groups, first, second) for first, second in pairs]


def _read_pair(groups: HlocGroups, first: str, second: str) -> ExchangedMatches:
    ways = [
        (name, turned)
        for old in (False, True)
        for turned in (False, True)
        if (name := _stored(*((second, first) if turned else (first, second)), old)) in groups
    ]
    if not ways:
        raise ValueError(f"no matches of {shorten(first)}, {shorten(second)}: match these two as well")
    name, turned = ways[0]
    matches = groups.array(name, "matches0", "iu", 1).astype(np.int64)
    if (matches < -1).any():
        raise ValueError(f"matches0 of {shorten(name)!r} hold numbers below -1")
    features = np.flatnonzero(matches >= 0)
    scores = np.ones(len(matches))
    if groups.has(name, "matching_scores0"):
        kinds = "f" if len(features) else "fiu"  # where there is no match, hloc writes zeros of any type
        scores = groups.array(name, "matching_scores0", kinds, 1).astype(np.float64)
    if scores.shape != matches.shape or not ((scores[features] >= -1e-3) & (scores[features] <= 1.001)).all():
        raise ValueError(f"matching_scores0 of {shorten(name)!r} are not one a feature, in 0..1")
    cosines = np.clip(2 * scores[features] - 1, -1, 1)
    found = ExchangedMatches(np.stack([features, matches[features]], axis=1), cosines)
    return found.swapped() if turned else found


def _stored(first: str, second: str, old: bool) -> str:
    name = pair_group(first, second)
    return name.replace("/", "_") if old else name
