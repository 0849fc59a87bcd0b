"""Stage match_images: features of the listed pairs of a dataset matched, of the map or of queries with the map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from descbench.features.image_features import ImageFeatures
from descbench.localization.select_pairs import read_pairs
from descbench.matching.match_features import match_listed
from descbench.matching.matcher import MatchSettings
from descbench.matching.matches import MatchesInfo


def match_images(
    features: Sequence[Path],
    map_features: Sequence[Path],
    pairs: Path,
    output: Path,
    settings: MatchSettings,
    *,
    role: Literal["map", "query"],
    made_by: str | None = None,
    configuration: str = "",
    cell: str = "",
    threads: int | None = None,
) -> None:
    """Match the pairs whose first image has a role; see :mod:`descbench.matching.matches` for the file.

    Args:
        features: feature shards of the first images' role.
        map_features: those of the map.
        pairs: list of the pairs.
        output: the file to write.
        settings: how two images are matched.
        role: of the first images.
        made_by: digest of the features block; None: not compared.
        configuration, cell: for readers of the file.
        threads: None = all processors.

    Raises:
        DataError: a file is absent or damaged, or descriptors do not fit each other.
        StaleFileError: features of another configuration.
    """
    listed = read_pairs(pairs, role)
    with ImageFeatures(features, made_by) as first, ImageFeatures(map_features, made_by) as second:
        info = MatchesInfo(first.digest, second.digest, configuration, cell)
        match_listed((first, second), listed, output, settings, info, threads=threads)
