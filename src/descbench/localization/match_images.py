"""Stage match_images: features of the listed pairs of a dataset matched, of the map or of queries with the map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from descbench.errors import DataError
from descbench.features.image_features import ImageFeatures
from descbench.localization.select_pairs import read_pairs
from descbench.matching.matcher import MatchSettings, match_pairs
from descbench.matching.matches import MatchesInfo, write_matches
from descbench.progress import progress


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
        found = match_pairs(first, second, listed, settings, threads=threads)
        info = MatchesInfo(first.digest, second.digest, configuration, cell)
        try:
            write_matches(listed, progress(found, len(listed), "matching", unit="pairs"), info, output)
        except ValueError as error:
            raise DataError(f"{output}: features that cannot be matched ({error}); extract them again.") from error
