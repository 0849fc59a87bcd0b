"""Stage assign_words: the visual words of the features of one shard.

Layout: ``words (N, A)`` uint32, nearest first; ``offsets (I + 1)`` int64, rows of image i are
``offsets[i]:offsets[i + 1]``, strongest feature first; ``image_ids (I)`` int64; ``unreadable_ids`` int64 of the images
that could not be read; ``unturned`` int64, how many EXIF says are to be turned, if any; with signatures,
``signatures (N, A * W)`` uint8, W bytes for each word. Searching, verification and expansion read words from here, so
that features are assigned once.

Definition: docs/protocols/oxford_bow.md, Bag of words; docs/protocols/oxford_bow.md, Hamming embedding.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from descbench.errors import DataError, StaleFileError
from descbench.features.checks import check_finite
from descbench.features.store import ShardReader
from descbench.io.hdf5 import Hdf5Reader, created, opened
from descbench.neighbours.nearest import NearestCentroids
from descbench.retrieval import FORMAT_VERSION
from descbench.retrieval.asmk import code_bytes
from descbench.retrieval.codebook import Codebook, check_fits, embedding_digest, read_codebook
from descbench.retrieval.hamming import Signed, sign
from descbench.retrieval.unturned import put_unturned, read_unturned

_KIND = "words shard"
_IMAGES = 256
_MOST_BITS = 1 << 16


@dataclass(frozen=True)
class WordsInfo:
    """What words were made from.

    Attributes:
        codebook, features, images: digests of the codebook, the features block and the manifest slice.
        checkpoint: SHA-256 of the weights behind the features; empty without a network.
        n: strongest features used of an image.
        num_words: K.
        embedding: digest of the projection and the thresholds behind the signatures; empty without signatures.
        bits: of a signature; 0 without signatures.
    """

    codebook: str
    features: str
    images: str
    checkpoint: str
    n: int
    num_words: int
    embedding: str = ""
    bits: int = 0


@dataclass(frozen=True)
class Words:
    """Visual words of the images of a shard.

    Attributes:
        info: what they were made from.
        words: (N, A) uint32, mapped from the file.
        offsets: (I + 1,) int64.
        image_ids: (I,) int64, ascending.
        unreadable: (U,) int64 ids of images that could not be read.
        signatures: (N, A, W) uint8, mapped from the file; None where there are none.
        unturned: number of images that EXIF says are to be turned, and that were read as they are stored.
    """

    info: WordsInfo
    words: np.ndarray
    offsets: np.ndarray
    image_ids: np.ndarray
    unreadable: np.ndarray
    signatures: np.ndarray | None = None
    unturned: int = 0

    def of(self, position: int) -> np.ndarray:
        """Words (n, A) of the image at a position."""
        return self.words[self.offsets[position] : self.offsets[position + 1]]

    def signed(self, position: int, assignments: int | None = None) -> Signed:
        """Words of the image at a position, feature after feature, with their signatures.

        Args:
            position: of the image.
            assignments: nearest words used of each feature; None = all.
        """
        place = slice(self.offsets[position], self.offsets[position + 1])
        words, codes = self.words[place, :assignments], self.signatures[place, :assignments]
        return Signed(words.ravel().astype(np.int64), codes.reshape(-1, codes.shape[-1]))


def assign_words(
    shard: Path,
    codebook: Path,
    output: Path,
    *,
    n: int,
    multiple_assignment: int = 1,
    bits: int | None = None,
    threads: int | None = None,
) -> None:
    """Find the nearest visual words of each feature, exactly, and its signatures where the codebook has an embedding.

    Args:
        shard: feature shard.
        codebook: codebook file.
        output: the file to write.
        n: strongest features used of an image.
        multiple_assignment: A, words of a feature.
        bits: of the signatures that the codebook must be made for, 0 of none; None: not compared.
        threads: None = all processors. The result does not depend on it.

    Raises:
        StaleFileError: the shard was made with other weights than the codebook, or that is for other signatures.
        DataError: descriptors of another dimension, or not finite; fewer words than are asked for.
    """
    known = read_codebook(codebook)
    nearest = NearestCentroids(known.centroids, threads)
    with ShardReader(shard) as reader:
        check_fits(known, codebook, reader)
        info = _made_of(known, reader, n)
        if bits not in (None, info.bits):
            message = f"made for signatures of {info.bits} bits, not of {bits}; delete it and rerun."
            raise StaleFileError(f"{codebook}: {message}")
        bits, offsets = info.bits, np.concatenate(([0], np.cumsum(reader.counts(n))))
        with created(output, _KIND, FORMAT_VERSION, asdict(info)) as file:
            file.put("offsets", offsets)
            file.put("image_ids", reader.image_ids)
            file.put("unreadable_ids", np.array(sorted(reader.skipped), np.int64))
            put_unturned(file, len(reader.unturned))
            words = file.reserve("words", (int(offsets[-1]), multiple_assignment), np.uint32)
            width = multiple_assignment * code_bytes(bits)
            signatures = file.reserve("signatures", (int(offsets[-1]), width), np.uint8) if bits else None
            start = 0
            for block in reader.blocks(n, _IMAGES):
                check_finite(shard, block.descriptors, block.image_ids)
                stop = start + len(block.descriptors)
                found = nearest.search(block.descriptors, multiple_assignment, threads)
                words[start:stop] = found
                if signatures is not None:
                    signatures[start:stop] = sign(block.descriptors, found, known.embedding).reshape(-1, width)
                start = stop


def is_words_of(path: Path, shard: Path, codebook: Path, *, n: int) -> bool:
    """Whether words are there that :func:`assign_words` would find, one for each feature; damaged ones are not."""
    if not path.is_file():
        return False
    try:
        found = read_words(path)
    except DataError:
        return False
    with ShardReader(shard) as reader:
        wanted = _made_of(read_codebook(codebook), reader, n)
    return (found.info, found.words.shape[1]) == (wanted, 1)


def _made_of(known: Codebook, reader: ShardReader, n: int) -> WordsInfo:
    made_of = (known.digest, reader.info.features, reader.info.images, reader.info.checkpoint)
    bits = 0 if known.embedding is None else len(known.embedding.projection)
    return WordsInfo(*made_of, n, len(known.centroids), embedding_digest(known.embedding), bits)


def index_name(info: WordsInfo) -> str:
    """What an index of words names its codebook: by its digest, and that of the signatures where there are some."""
    return f"{info.codebook}+{info.embedding}" if info.embedding else info.codebook


def read_words(path: Path) -> Words:
    """Read what :func:`assign_words` wrote.

    Raises:
        DataError: no such file, or a damaged one.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        texts = {name: file.text(name) for name in ("codebook", "features", "images", "checkpoint", "embedding")}
        info = WordsInfo(**texts, **{name: file.number(name) for name in ("n", "num_words", "bits")})
        words = file.mapped("words", np.uint32, 2)
        offsets, ids = file.array("offsets", np.int64), file.array("image_ids", np.int64)
        unreadable = file.array("unreadable_ids", np.int64)
        if offsets.shape != (len(ids) + 1,) or offsets[0] != 0 or offsets[-1] != len(words):
            raise ValueError(f"offsets do not run from 0 to {len(words)}")
        if (np.diff(offsets) < 0).any() or (np.diff(ids) <= 0).any() or not np.isin(unreadable, ids).all():
            raise ValueError("offsets or image ids do not ascend, or unreadable images are not in the list")
        if len(words) and words.max() >= info.num_words:
            raise ValueError(f"word {words.max()} of {info.num_words}")
        signatures = _read_signatures(file, info, words.shape)
        unturned = read_unturned(file)
    return Words(info, words, offsets, ids, unreadable, signatures, unturned)


def _read_signatures(file: Hdf5Reader, info: WordsInfo, shape: tuple[int, ...]) -> np.ndarray | None:
    """(N, A, W) uint8 of words (N, A); None where there are none."""
    if not info.bits:
        return None
    if not 0 < info.bits <= _MOST_BITS:
        raise ValueError(f"signatures of {info.bits} bits")
    found = file.mapped("signatures", np.uint8, 2)
    if found.shape != (shape[0], shape[1] * code_bytes(info.bits)):
        raise ValueError(f"signatures {found.shape} for words {shape} and {info.bits} bits")
    return found.reshape(*shape, code_bytes(info.bits))
