"""Match two images of the user's own by a method of the configuration."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path

import numpy as np

from descbench.command_files import named, read_configuration
from descbench.config.base import first_names
from descbench.config.models import Config
from descbench.datasets.labels import safe_relative
from descbench.datasets.manifest import Manifest, rows_of
from descbench.direct.work_features import WorkFeatures
from descbench.errors import ConfigError, DataError
from descbench.features.image_features import ImageFeatures
from descbench.io.outputs import check_page
from descbench.matching.homography import FEWEST, EstimatedHomography, HomographySettings, estimate_homography
from descbench.matching.matcher import MatchSettings, match_pairs
from descbench.tables.pair_page import show_pair


@dataclass(frozen=True)
class MatchedImages:
    """Two images with their matches.

    Attributes:
        first, second: (M, 2) float32 x, y of each match in both images, in pixels of the original images; the first
            pixel has its centre at (0, 0).
        scores: (M,) float32, inner products of the descriptors, the largest is the best.
        inliers: (M,) bool, matches that the homography explains.
        homography: (3, 3) float64 from pixels of the first image to those of the second; None: none was found that
            explains four matches or more.
        features: number of features of both images that took part.
    """

    first: np.ndarray
    second: np.ndarray
    scores: np.ndarray
    inliers: np.ndarray
    homography: np.ndarray | None
    features: tuple[int, int]


def match_pair(
    first: str | Path,
    second: str | Path,
    method: str,
    *,
    html: str | Path | None = None,
    configfiles: Sequence[str | Path] = (),
) -> MatchedImages:
    """Match the features of two images, and find the homography that most matches agree with.

    Args:
        first, second: the images.
        method: of the configuration, one that matches features, such as ``sift``; its ``estimator`` and ``threshold``
            say what an inlier is.
        html: page to write, with lines between the matches; None: none.
        configfiles: overlays of the configuration.

    Raises:
        ConfigError: no such method, or one that matches no features.
        DataError: a checkpoint that is not there (the message names the command that makes it), or an image that is
            missing or damaged, or has no features that can be matched.
    """
    files = [Path(file) for file in configfiles]
    config = read_configuration(files)
    settings, estimation = _settings(config, method)
    check_page(html, [first, second, *files])
    images = Path(first), Path(second)
    for path in images:
        if not path.is_file():
            raise DataError(f"{path}: no such image; correct the path.")
    found = _match(config, config.methods[method].features, images, settings, files)
    (points, others), matches = found
    estimated = estimate_homography(points, others, estimation)
    if estimated.inliers.sum() < FEWEST:  # which four points alone decide, and fewer do not support
        estimated = EstimatedHomography(None, np.zeros(len(points), bool))
    result = MatchedImages(points, others, matches.scores, estimated.inliers, estimated.matrix, matches.counts)
    if html is not None:
        _show(result, images, Path(html), config, method, estimation.threshold)
    return result


def _settings(config: Config, method: str) -> tuple[MatchSettings, HomographySettings]:
    """How a method matches, and what an inlier is."""
    block = named(config.methods, "method", method)
    if block.pair_matching is None:
        raise ConfigError(f"{method!r} matches no features; name a method of {_matching(config)}.")
    matching, homography = block.pair_matching
    return MatchSettings(**matching), HomographySettings(**homography)


def _matching(config: Config) -> str:
    names = [name for name, block in config.methods.items() if block.pair_matching is not None]
    return first_names(names) or "another configuration"


def _match(
    config: Config, features: str, images: tuple[Path, Path], settings: MatchSettings, files: Sequence[Path]
) -> tuple[tuple[np.ndarray, np.ndarray], object]:
    """Places of the matches in both images, and the matches."""
    paths = [path.resolve() for path in images]
    root = Path(commonpath([path.parent for path in paths]))
    names = [safe_relative(path.relative_to(root).as_posix(), path) for path in paths]
    listed = Manifest(tuple(rows_of("database", names)))
    with tempfile.TemporaryDirectory(prefix="descbench-match-") as folder:
        described = WorkFeatures(config, features, Path(folder), files).describe("images", listed, root)
        with ImageFeatures(described.shards) as found:
            for image, reason in found.skipped.items():
                raise DataError(f"{images[image]}: {reason}")
            try:
                matches = next(match_pairs(found, found, [(0, 1)], settings))
            except ValueError as error:
                raise DataError(f"{images[0]}, {images[1]}: features that cannot be matched ({error}).") from error
            places = [found.keypoints(image, settings.n)[matches.indices[:, image]] for image in (0, 1)]
    return (places[0], places[1]), matches


def _show(
    result: MatchedImages, images: tuple[Path, Path], html: Path, config: Config, method: str, threshold: float
) -> None:
    block = config.features[config.methods[method].features]
    rule = (
        f"{result.features[0]} and {result.features[1]} features, {len(result.scores)} matches by {method}, of which "
        f"{int(result.inliers.sum())} are inliers: one homography explains them within {threshold:g} px."
    )
    shown = {"title": f"{method}: {images[0].name} and {images[1].name}", "rule": rule}
    show_pair(images, (result.first, result.second), result.inliers, html, reading=block.reading_options, **shown)
