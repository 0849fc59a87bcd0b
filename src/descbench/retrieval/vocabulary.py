"""Stage build_vocabulary: the visual words of COLMAP's index, learned by pycolmap.

Layout: ``content (B)`` uint8, COLMAP's own file; attributes say what it was learned from. Definition:
docs/protocols/oxford_bow.md, COLMAP's visual index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from descbench.errors import DataError
from descbench.io.atomic import work_folder
from descbench.io.hdf5 import created, opened
from descbench.retrieval import FORMAT_VERSION
from descbench.retrieval.codebook import read_points

_KIND = "vocabulary of COLMAP"
# COLMAP's index is compiled for descriptors of so many dimensions, and signatures of so many bits.
DIMENSIONS = 128
_BITS = 64
# The kind of descriptors that COLMAP keeps as floats, one of its FeatureExtractorType.
FLOATS = "ALIKED_N16ROT"
# Words that k-means compares a descriptor with, COLMAP's own default.
_CHECKS = 256


@dataclass(frozen=True)
class VocabularyInfo:
    """What a vocabulary was learned from.

    Attributes:
        features: digest of the features block of the training descriptors.
        checkpoint: SHA-256 of the weights behind them; empty without a network.
        colmap_version: version of pycolmap.
    """

    features: str
    checkpoint: str
    colmap_version: str


def build_vocabulary(
    shards: Sequence[Path],
    output: Path,
    *,
    n: int,
    images: int | None,
    size: int,
    iterations: int,
    rounds: int,
    seed: int,
) -> None:
    """Learn COLMAP's visual words, on one thread: equal settings give equal words.

    Args:
        shards: feature shards of the training images, in order.
        output: the file to write.
        n: strongest descriptors used of an image.
        images: first images used, over all shards; None = all.
        size: number of words.
        iterations, rounds: of k-means.
        seed: of COLMAP's random numbers and of the subsample of descriptors.

    Raises:
        DataError: too few descriptors, descriptors of other than 128 dimensions, damaged shards.
        StaleFileError: shards of different features or weights.
    """
    read = read_points(output, shards, n=n, images=images, size=size, seed=seed)
    if read.points.shape[1] != DIMENSIONS:
        message = f"COLMAP's index is for descriptors of {DIMENSIONS} dimensions, these have {read.points.shape[1]}"
        raise DataError(f"{output}: {message}; use other features.")
    # Imported here, because pycolmap takes over signals of a process, and who reads a vocabulary need not have it.
    import pycolmap

    from descbench.localization.colmap import refusing_errors

    options = pycolmap.VisualIndex.BuildOptions(
        num_visual_words=size, num_iterations=iterations, num_rounds=rounds, num_checks=_CHECKS, num_threads=1
    )
    with work_folder(output) as folder, refusing_errors(str(output)):
        pycolmap.set_random_seed(seed)
        kind = getattr(pycolmap.FeatureExtractorType, FLOATS)
        index = pycolmap.VisualIndex.create(DIMENSIONS, _BITS)
        index.build(options, pycolmap.FeatureDescriptorsFloat(type=kind, data=read.points))
        index.write(folder / "words.bin")
        content = np.fromfile(folder / "words.bin", np.uint8)
    write_vocabulary(VocabularyInfo(read.info.features, read.info.checkpoint, version("pycolmap")), content, output)


def write_vocabulary(info: VocabularyInfo, content: np.ndarray, path: Path) -> None:
    """Write what was learned: COLMAP's file (B,) uint8."""
    with created(path, _KIND, FORMAT_VERSION, asdict(info)) as file:
        file.put("content", content)


def read_vocabulary(path: Path) -> tuple[VocabularyInfo, np.ndarray]:
    """What a vocabulary was learned from, and COLMAP's file (B,) uint8.

    Raises:
        DataError: no such file, a damaged one, or one of another version of pycolmap.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        info = VocabularyInfo(**{name: file.text(name) for name in VocabularyInfo.__dataclass_fields__})
        content = file.array("content", np.uint8)
        if info.colmap_version != version("pycolmap"):
            raise ValueError(f"made by pycolmap {info.colmap_version}, this is {version('pycolmap')}")
    return info, content
