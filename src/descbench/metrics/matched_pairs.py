"""Image pairs with all that they are scored by: places of matches, true homographies, sizes of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from descbench.datasets.image_pairs import ImagePair, read_image_pairs
from descbench.datasets.manifest import read_manifest
from descbench.errors import StaleFileError
from descbench.features.image_features import ImageFeatures
from descbench.features.images import read_size
from descbench.io.digests import digest_of, sha256_file
from descbench.listing import listed
from descbench.matching.matches import Matches, read_matches

_KEPT_IMAGES = 16


@dataclass(frozen=True)
class MatchedPair:
    """Two images and their matches.

    Attributes:
        first, second: their paths, as in the manifest.
        image_ids: their ids.
        homography: (3, 3) float64, true, from pixels of the first to those of the second.
        points: (M, 2) float32 x, y of the matches in each image, whose first pixel has its centre at 0, 0.
        scores: (M,) float32 of the matches.
        counts: features of each image that took part.
        sizes: width and height of each.
    """

    first: str
    second: str
    image_ids: tuple[int, int]
    homography: np.ndarray
    points: tuple[np.ndarray, np.ndarray]
    scores: np.ndarray
    counts: tuple[int, int]
    sizes: tuple[tuple[int, int], tuple[int, int]]

    @property
    def sequence(self) -> str:
        """Name of the folder of the first image."""
        return Path(self.first).parent.name

    @property
    def name(self) -> str:
        """Sequence and images, such as ``v_churchill 1-4``."""
        return f"{self.sequence} {Path(self.first).stem}-{Path(self.second).stem}"


@dataclass(frozen=True)
class MatchedFiles:
    """Where the pairs of a dataset and their matches lie.

    Attributes:
        matches: files of matches of all shards, in order.
        features: feature shards of all images.
        pairs, manifest: of the dataset.
        image_root: folder that paths of the manifest are relative to.
        cell, configuration, made_by: method and dataset, digest of the settings of matching, and that of the features
            block, which the files must have; None: not compared.
    """

    matches: Sequence[Path]
    features: Sequence[Path]
    pairs: Path
    manifest: Path
    image_root: Path
    cell: str | None = None
    configuration: str | None = None
    made_by: str | None = None

    def count(self) -> int:
        """Number of pairs of the list."""
        return len(read_image_pairs(self.pairs, read_manifest(self.manifest)))

    def digest(self) -> str:
        """Of the images and of their relations, by which scores know that they can be compared."""
        return digest_of([sha256_file(self.manifest), sha256_file(self.pairs)])

    def skipped(self) -> dict[str, str]:
        """Path -> reason, of the images that could not be read."""
        manifest = read_manifest(self.manifest)
        with ImageFeatures(self.features, self.made_by) as images:
            return {manifest.rows[image].path: reason for image, reason in images.skipped.items()}


def read_matched_pairs(files: MatchedFiles) -> Iterator[MatchedPair]:
    """The pairs of a dataset, in order; memory does not grow with them.

    Raises:
        StaleFileError: files that do not belong together.
        DataError: damaged files, images that cannot be read, or features without a place.
    """
    manifest = read_manifest(files.manifest)
    known = read_image_pairs(files.pairs, manifest)
    with ImageFeatures(files.features, files.made_by) as images:
        stored = [
            read_matches(
                path,
                cell=files.cell,
                configuration=files.configuration,
                first=images.digest,
                second=images.digest,
            )
            for path in files.matches
        ]
        _check_pairs(stored, known, files)
        sizes = lru_cache(maxsize=_KEPT_IMAGES)(lambda path: read_size(files.image_root / path))
        matches = (found.of(number) for found in stored for number in range(len(found)))
        for pair, found in zip(known, matches, strict=True):
            paths = [manifest.rows[image].path for image in (pair.image_a, pair.image_b)]
            places = [images.keypoints(image) for image in (pair.image_a, pair.image_b)]
            yield MatchedPair(
                *paths,
                image_ids=(pair.image_a, pair.image_b),
                homography=pair.relation.matrix,
                points=(places[0][found.indices[:, 0]], places[1][found.indices[:, 1]]),
                scores=found.scores,
                counts=found.counts,
                sizes=(sizes(paths[0]), sizes(paths[1])),
            )


def _check_pairs(stored: Sequence[Matches], known: Sequence[ImagePair], files: MatchedFiles) -> None:
    """Refuse matches of other pairs than those of the list; StaleFileError."""
    matched = [tuple(pair) for found in stored for pair in found.pairs.tolist()]
    if matched != [(pair.image_a, pair.image_b) for pair in known]:
        named = listed(files.matches, 3)
        raise StaleFileError(f"{named}: matches of other image pairs than those of {files.pairs}; delete and rerun.")
