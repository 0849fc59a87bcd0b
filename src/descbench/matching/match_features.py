"""Stage match_features: the features of both images of each pair of a shard, matched.

Definition: docs/protocols/hpatches_sequences.md, Matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from descbench.datasets.image_pairs import read_image_pairs
from descbench.datasets.manifest import read_manifest
from descbench.errors import DataError
from descbench.features.image_features import ImageFeatures
from descbench.matching.matcher import MatchSettings, match_pairs
from descbench.matching.matches import MatchesInfo, write_matches
from descbench.progress import progress


@dataclass(frozen=True)
class PairShard:
    """Pairs ``start:stop`` of a dataset's list; no ``stop``: all that follow.

    Attributes:
        pairs: the list.
        manifest: of its dataset.
    """

    pairs: Path
    manifest: Path
    start: int = 0
    stop: int | None = None

    def find_pairs(self) -> list[tuple[int, int]]:
        """Ids of the two images of each.

        Raises:
            DataError: a file is damaged, or the list is shorter than the shard.
        """
        listed = read_image_pairs(self.pairs, read_manifest(self.manifest))
        found = [(pair.image_a, pair.image_b) for pair in listed[self.start : self.stop]]
        if self.stop is not None and len(found) != self.stop - self.start:
            raise DataError(
                f"{self.pairs}: ends before pair {self.stop}, which a shard should hold; correct `counts` of this "
                "dataset or rebuild the list."
            )
        return found


def match_features(
    features: Sequence[Path],
    shard: PairShard,
    output: Path,
    settings: MatchSettings,
    *,
    made_by: str | None = None,
    configuration: str = "",
    cell: str = "",
    threads: int | None = None,
) -> None:
    """Match the pairs of a shard and write the file of matches.

    Args:
        features: feature shards of all images of the dataset.
        shard: the pairs.
        output: the file to write.
        settings: how features are matched.
        made_by: digest of the features block; None: not compared.
        configuration, cell: for readers of the file, see :class:`descbench.matching.matches.MatchesInfo`.
        threads: None = all processors.

    Raises:
        DataError: a file is absent or damaged, an image has no features shard, or two images have descriptors that do
            not fit each other.
        StaleFileError: features of another configuration.
    """
    pairs = shard.find_pairs()
    with ImageFeatures(features, made_by) as images:
        info = MatchesInfo(images.digest, images.digest, configuration, cell)
        match_listed((images, images), pairs, output, settings, info, threads=threads)


def match_listed(
    images: tuple[ImageFeatures, ImageFeatures],
    pairs: Sequence[tuple[int, int]],
    output: Path,
    settings: MatchSettings,
    info: MatchesInfo,
    *,
    threads: int | None = None,
) -> None:
    """Match pairs of an image of the first features and one of the second, and write the file of matches.

    Raises:
        DataError: an image has no features, or two images have descriptors that do not fit each other.
    """
    found = match_pairs(*images, pairs, settings, threads=threads)
    try:
        write_matches(pairs, progress(found, len(pairs), "matching", unit="pairs"), info, output)
    except ValueError as error:
        raise DataError(f"{output}: features that cannot be matched ({error}); extract them again.") from error
