"""Features and matches of the workflow written for other pipelines, and theirs brought into the workflow's files.

Definition: docs/interop.md, Features, and Matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descbench.errors import DataError
from descbench.features.image_features import ImageFeatures
from descbench.features.images import read_size
from descbench.features.shards import ShardSpec
from descbench.features.store import Block, ShardInfo, ShardWriter
from descbench.interop.exchanged import ExchangedFeatures, ExchangedMatches
from descbench.io.kinds import shorten
from descbench.listing import listed
from descbench.matching.matcher import PairMatches
from descbench.matching.matches import Matches, MatchesInfo, write_matches

_IMPORTED = "imported from "


@dataclass(frozen=True)
class RoleImages:
    """Images of one role of a dataset and their features.

    Attributes:
        names: by id, as the other pipeline has them.
        paths: by id, as the manifest has them.
        shards: feature shards of them.
        made_by: digest of the features block; None: any.
    """

    names: Sequence[str]
    paths: Sequence[str]
    shards: Sequence[Path]
    made_by: str | None = None


def stored_features(
    images: RoleImages, root: Path | None, exif_orientation: str = "ignore"
) -> Iterator[tuple[str, ExchangedFeatures]]:
    """Name and features of each image of a role; those that could not be read are left out.

    Args:
        images: of a role.
        root: folder of the images, to read their sizes; None: sizes are not needed.
        exif_orientation: how the features block reads them.

    Raises:
        DataError: a shard is absent or damaged, features have no place, or an image cannot be read.
        StaleFileError: they were made by another configuration.
    """
    with ImageFeatures(images.shards, images.made_by) as found:
        for image_id, (name, path) in enumerate(zip(images.names, images.paths, strict=True)):
            if image_id in found.skipped:
                continue
            size = None if root is None else read_size(root / path, exif_orientation)
            yield name, _exchanged(name, found.of(image_id), size)


def _exchanged(name: str, block: Block, size: tuple[int, int] | None) -> ExchangedFeatures:
    if block.keypoints is None and len(block.descriptors):
        raise DataError(f"features of {shorten(name)} have no place in the image, so other pipelines cannot use them.")
    places = np.zeros((0, 2), np.float32) if block.keypoints is None else block.keypoints
    return ExchangedFeatures(places, block.descriptors, block.strengths, block.scales, block.orientations, size)


def import_exchanged(features: Mapping[str, ExchangedFeatures], shard: ShardSpec, output: Path, source: str) -> None:
    """Write a feature shard of features of another pipeline, strongest first.

    Args:
        features: by path of the image in the manifest.
        shard: its images.
        output: the file to write.
        source: what the features were read from, which the shard keeps.

    Raises:
        DataError: an image is absent, descriptors have other dimensions than those of other images, or an image has
            other columns than they.
    """
    images = shard.find_images()
    missing = [row.path for row in images.rows if row.path not in features]
    if missing:
        raise DataError(f"{len(missing)} images have no features, such as {shorten(missing[0])}; extract them.")
    dims = {features[row.path].descriptors.shape[1] for row in images.rows if len(features[row.path].keypoints)}
    if len(dims) != 1:
        raise DataError(f"descriptors of {sorted(dims) or 'no'} dimensions; one number is needed.")
    info = ShardInfo("local", shard.features, images.digest(), checkpoint="", device="", backend=_IMPORTED + source)
    with ShardWriter(output, info, dims.pop()) as writer:
        for row in images.rows:
            found = features[row.path].strongest_first()
            descriptors = found.descriptors if len(found.keypoints) else np.zeros((0, writer.dim), np.float32)
            writer.add(row.image_id, descriptors, found.keypoints, found.scales, found.scores, found.orientations)


def was_imported(backend: str) -> bool:
    """Whether a shard says that it was imported (its ``ShardInfo.backend``)."""
    return backend.startswith(_IMPORTED)


def stored_matches(
    matches: Matches, first: Sequence[str], second: Sequence[str]
) -> Iterator[tuple[str, str, int, ExchangedMatches]]:
    """Names of the two images of each pair, number of features of the first, and matches.

    Args:
        matches: of the workflow.
        first, second: names of the first and the second images by id.

    Raises:
        DataError: a pair of an image that has no name.
    """
    for number, (a, b) in enumerate(matches.pairs.tolist()):
        if a >= len(first) or b >= len(second):
            raise DataError(
                f"matches of images {a}, {b}, of {len(first)} and {len(second)}: made for another list of images."
            )
        found = matches.of(number)
        yield (
            first[a],
            second[b],
            found.counts[0],
            ExchangedMatches(found.indices.astype(np.int64), found.scores.astype(np.float64)),
        )


Orders = Callable[[str], np.ndarray | None]


def import_matches(
    pairs: Sequence[tuple[int, int]],
    images: tuple[RoleImages, RoleImages],
    read: Callable[[str, str], ExchangedMatches],
    output: Path,
    *,
    orders: Orders = lambda name: None,
    configuration: str = "",
    cell: str = "",
) -> None:
    """Write matches of another pipeline as the workflow's file of matches.

    Args:
        pairs: ids of the two images of each.
        images: of the first and of the second images, with their features.
        read: matches of two images by name.
        output: the file to write.
        orders: for the name of an image, where its features in the store stand in the other pipeline's file, see
            :meth:`descbench.interop.exchanged.ExchangedFeatures.order`; None: in the same order.
        configuration, cell: for readers of the file.

    Raises:
        DataError: a file is absent or damaged, a feature that is not there, one with two matches, or a score outside of
            -1..1.
        StaleFileError: features of another configuration.
    """
    first, second = images
    with (
        ImageFeatures(first.shards, first.made_by) as of_first,
        ImageFeatures(second.shards, second.made_by) as of_second,
    ):
        found = []
        for a, b in pairs:
            names = first.names[a], second.names[b]
            counts = len(of_first.of(a).descriptors), len(of_second.of(b).descriptors)
            found.append(_in_store(read(*names), names, counts, (orders(names[0]), orders(names[1]))))
        write_matches(pairs, found, MatchesInfo(of_first.digest, of_second.digest, configuration, cell), output)


def _in_store(
    found: ExchangedMatches,
    names: tuple[str, str],
    counts: tuple[int, int],
    orders: tuple[np.ndarray | None, np.ndarray | None],
) -> PairMatches:
    """Matches whose features are numbered as in the feature store."""
    pair = listed(map(shorten, names))
    indices = found.indices.copy()
    if (indices >= counts).any():
        raise DataError(f"{pair}: a match of feature {indices.max()}, but they have {counts[0]} and {counts[1]}.")
    for column, order in enumerate(orders):
        if order is not None:
            if len(order) != counts[column]:
                raise DataError(f"{pair}: {len(order)} features were imported, the store has {counts[column]}.")
            indices[:, column] = np.argsort(order)[indices[:, column]]
    moved = ExchangedMatches(indices, found.scores).by_first()
    if (np.diff(moved.indices[:, 0]) == 0).any():
        raise DataError(f"{pair}: a feature of the first image has two matches; match with a mutual check.")
    if not (np.abs(moved.scores) <= 1).all():
        raise DataError(f"{pair}: scores outside of -1..1, which are not cosines.")
    return PairMatches(moved.indices.astype(np.int32), moved.scores.astype(np.float32), counts)


def below(folder: str, name: str) -> str:
    """Name of an image below a folder of the manifest's root; an empty folder is that root.

    Raises:
        DataError: it lies elsewhere.
    """
    prefix = folder.strip("/") + "/"
    if prefix == "/":
        return name
    if not name.startswith(prefix):
        raise DataError(
            f"image {shorten(name)!r} does not lie below {folder!r}; name a folder that all images lie below."
        )
    return name.removeprefix(prefix)
