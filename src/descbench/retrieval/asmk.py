"""Aggregated selective match kernel (ASMK) on arrays: aggregate, invert, search.

Definition: docs/protocols/asmk.md, Aggregation; docs/protocols/asmk.md, Inverted file; docs/protocols/asmk.md, Search
(Tolias, Avrithis, Jégou, ICCV 2013, as varied in HOW, ECCV 2020). Quantisation is in ``nearest.py``. No files here; the
stages that read and write them are in ``index.py`` and ``search.py``.

Binary codes are ``uint8 (M, 4 * ceil(D / 32))``: dimension d is bit ``7 - d % 8`` of byte ``d // 8``
(first dimension in the most significant bit), padding bits are 0. Read as big-endian uint32 they
are the words of the original, see :func:`codes_to_words`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descbench.neighbours.threads import num_threads
from descbench.retrieval import _asmk


@dataclass(frozen=True)
class Aggregated:
    """Aggregated images: one row per image and distinct word, words ascending within an image.

    Attributes:
        rows: (M, 4 * ceil(D / 32)) uint8 codes, or (M, D) float32 vectors.
        words: (M,) int64 word of each row.
        offsets: (I + 1,) int64 first row of each image.
    """

    rows: np.ndarray
    words: np.ndarray
    offsets: np.ndarray

    @property
    def binary(self) -> bool:
        """Whether the rows are binary codes."""
        return self.rows.dtype == np.uint8


@dataclass(frozen=True)
class InvertedFile:
    """Rows of aggregated images ordered by word; within a word in ascending order of images.

    Attributes:
        word_offsets: (K + 1,) int64 first entry of each word.
        image_ids: (M,) uint32.
        rows: (M, 4 * ceil(D / 32)) uint8 codes, or (M, D) float32 vectors.
        first_image: images are ``first_image`` to ``first_image + num_images - 1``.
        num_images: number of images, those without entries included.
    """

    word_offsets: np.ndarray
    image_ids: np.ndarray
    rows: np.ndarray
    first_image: int
    num_images: int

    @property
    def binary(self) -> bool:
        """Whether the rows are binary codes."""
        return self.rows.dtype == np.uint8

    @property
    def counts(self) -> np.ndarray:
        """(K,) number of images that have each word."""
        return np.diff(self.word_offsets)

    def image_norms(self, idf: np.ndarray | None = None) -> np.ndarray:
        """(num_images,) float64: number of entries of each image, or the sum of their idf.

        Raises:
            ValueError: an entry names an image that is not one of these.
        """
        weights = None if idf is None else np.ascontiguousarray(idf, np.float32)
        offsets = np.ascontiguousarray(self.word_offsets, np.int64)
        norms, stranger = _asmk.image_norms(offsets, self.image_ids, self.first_image, self.num_images, weights)
        if stranger >= 0:
            image, last = self.image_ids[stranger], self.first_image + self.num_images - 1
            raise ValueError(f"image {image} in an inverted file of images {self.first_image} to {last}")
        return norms


def code_bytes(dim: int) -> int:
    """Bytes of a binary code: whole 32-bit words."""
    return 4 * (-(-dim // 32))


def codes_to_words(codes: np.ndarray) -> np.ndarray:
    """Codes (M, 4 W) uint8 as the uint32 words (M, W) of the original."""
    return np.ascontiguousarray(codes).view(">u4").astype(np.uint32)


def words_to_codes(words: np.ndarray) -> np.ndarray:
    """The uint32 words (M, W) of the original as codes (M, 4 W) uint8."""
    return np.ascontiguousarray(words, ">u4").view(np.uint8)


def aggregate(
    vectors: np.ndarray,
    words: np.ndarray,
    offsets: np.ndarray,
    centroids: np.ndarray,
    *,
    binary: bool,
    threads: int | None = None,
) -> Aggregated:
    """Sum the residuals of each image and word, in the order of the descriptors, in float32.

    Args:
        vectors: (N, D) descriptors, image after image.
        words: (N, A) int64 words of each descriptor.
        offsets: (I + 1,) first descriptor of each image; images may be empty.
        centroids: (K, D).
        binary: keep the signs of the sums (positive = 1); else divide them by (norm + 1e-6).
        threads: None = all processors. The result does not depend on it.

    Raises:
        ValueError: shapes that do not fit, or words outside the codebook.
    """
    vectors, centroids = np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(centroids, np.float32)
    words, offsets = np.ascontiguousarray(words, np.int64), np.ascontiguousarray(offsets, np.int64)
    if vectors.ndim != 2 or centroids.ndim != 2 or vectors.shape[1] != centroids.shape[1]:
        raise ValueError(f"descriptors {vectors.shape} and centroids {centroids.shape} do not fit")
    if words.ndim != 2 or len(words) != len(vectors):
        raise ValueError(f"words {words.shape} for {len(vectors)} descriptors")
    if words.size and not 0 <= words.min() <= words.max() < len(centroids):
        raise ValueError(f"words {words.min()} to {words.max()} with a codebook of {len(centroids)}")
    _check_offsets(offsets, len(vectors))
    row_bytes = code_bytes(vectors.shape[1]) if binary else 4 * vectors.shape[1]
    rows, ids, entries = _asmk.aggregate(vectors, centroids, words, offsets, binary, row_bytes, num_threads(threads))
    return Aggregated(rows if binary else rows.view(np.float32), ids, entries)


def invert(aggregated: Aggregated, num_words: int, first_image: int = 0) -> InvertedFile:
    """Order the rows of consecutive images, the first of which is ``first_image``, by word."""
    num_images = len(aggregated.offsets) - 1
    images = np.repeat(np.arange(first_image, first_image + num_images, dtype=np.uint32), np.diff(aggregated.offsets))
    offsets, image_ids, rows = order_by_word(aggregated.words, images, aggregated.rows, num_words)
    return InvertedFile(offsets, image_ids, rows, first_image, num_images)


def order_by_word(
    words: np.ndarray, image_ids: np.ndarray, rows: np.ndarray, num_words: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order entries by word, and within a word as they come.

    Args:
        words: (M,) words of the entries, 0 to num_words - 1.
        image_ids: (M,) uint32.
        rows: (M, W) uint8 codes or (M, D) float32 vectors.
        num_words: K.

    Returns:
        first entry of each word (K + 1,) int64, image ids and rows.

    Raises:
        ValueError: arrays of different lengths, or words outside the codebook.
    """
    words, rows = np.ascontiguousarray(words, np.int64), np.ascontiguousarray(rows)
    if not len(words) == len(image_ids) == len(rows):
        raise ValueError(f"{len(words)} words and {len(image_ids)} images for {len(rows)} rows")
    if words.size and not 0 <= words.min() <= words.max() < num_words:
        raise ValueError(f"words {words.min()} to {words.max()} with a codebook of {num_words}")
    offsets, image_ids, ordered = _asmk.invert(words, image_ids, rows.view(np.uint8), num_words)
    return offsets, image_ids, ordered.view(rows.dtype)


class Searcher:
    """Searches one inverted file with fixed settings.

    A vote is ``similarity ** alpha * idf / sqrt(norm of the image)``, rounded to float32 where the
    original stores it so, and added in float64 in ascending order of words. Votes below the
    threshold are not counted. An image whose words all have idf 0 scores NaN once a vote for it is
    counted (0 / 0, as in the original).

    Args:
        lists: inverted file.
        similarity_threshold: smallest similarity that votes (inclusive).
        alpha: power of the similarity.
        idf: (K,) float32 weights of words; None = 1.
        threads: None = all processors. The result does not depend on it.

    Raises:
        ValueError: the inverted file is inconsistent.
    """

    def __init__(
        self,
        lists: InvertedFile,
        *,
        similarity_threshold: float,
        alpha: float,
        idf: np.ndarray | None = None,
        threads: int | None = None,
    ) -> None:
        _check_lists(lists)
        num_words = len(lists.word_offsets) - 1
        if idf is not None and idf.shape != (num_words,):
            raise ValueError(f"idf of shape {idf.shape} for {num_words} words")
        self._lists, self._idf = lists, idf
        weights = np.ones(num_words, np.float32) if idf is None else np.ascontiguousarray(idf, np.float32)
        offsets = np.ascontiguousarray(lists.word_offsets, np.int64)
        divisors = np.sqrt(lists.image_norms(idf))
        self._common = (offsets, lists.image_ids, lists.rows, lists.first_image, divisors, weights)
        settings = (similarity_threshold, alpha)
        if lists.binary:
            settings = _values(8 * lists.rows.shape[1], similarity_threshold, alpha)
        self._settings = (*settings, num_threads(threads))

    def search(self, queries: Aggregated) -> np.ndarray:
        """Scores of all images for each query: (queries, num_images) float64.

        A query without descriptors has a row of zeros.

        Raises:
            ValueError: the queries do not fit the inverted file.
        """
        lists = self._lists
        _check_queries(queries, lists)
        scores = np.zeros((len(queries.offsets) - 1, lists.num_images))
        if lists.num_images:
            kernel = _asmk.search_binary if lists.binary else _asmk.search_float
            rows = np.ascontiguousarray(queries.rows)
            kernel(scores, queries.offsets, queries.words, rows, *self._common, *self._settings)
        _divide_by_query_norms(scores, queries, self._idf)
        return scores


def distance_table(bits: int, length: int | None = None) -> np.ndarray:
    """Normalised Hamming distance, float32, for 0..bits differing bits; ``length`` None = ``bits``."""
    return np.arange(bits + 1).astype(np.float32) / np.float32(bits if length is None else length)


def _values(bits: int, threshold: float, alpha: float) -> tuple[np.ndarray, int]:
    """similarity ** alpha by Hamming distance, and the largest distance that passes the threshold.

    The divisor is the padded number of bits, not the number of dimensions: so does the original.
    """
    similarities = 1 - 2 * distance_table(bits)
    # What has no finite power is found in the scores, by the query.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        values = (similarities**alpha).astype(np.float32)
    return values, int(np.count_nonzero(similarities >= threshold)) - 1


def _divide_by_query_norms(scores: np.ndarray, queries: Aggregated, idf: np.ndarray | None) -> None:
    for query, (low, high) in enumerate(zip(queries.offsets[:-1], queries.offsets[1:], strict=True)):
        if high == low:
            continue
        # The original sums the idf, or ones, in float32, and takes the root of that in float32.
        norm = np.float32(high - low) if idf is None else np.cumsum(idf[queries.words[low:high]], dtype=np.float32)[-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            scores[query] /= np.sqrt(norm)


def _check_offsets(offsets: np.ndarray, total: int) -> None:
    if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != total or (np.diff(offsets) < 0).any():
        raise ValueError(f"offsets must ascend from 0 to {total}")


def _check_lists(lists: InvertedFile) -> None:
    entries = len(lists.image_ids)
    _check_offsets(lists.word_offsets, entries)
    if len(lists.rows) != entries:
        raise ValueError(f"{len(lists.rows)} rows for {entries} entries")


def _check_queries(queries: Aggregated, lists: InvertedFile) -> None:
    words, num_words = queries.words, len(lists.word_offsets) - 1
    _check_offsets(queries.offsets, len(words))
    if len(queries.rows) != len(words):
        raise ValueError(f"{len(queries.rows)} rows for {len(words)} query words")
    if (queries.rows.dtype, queries.rows.shape[1]) != (lists.rows.dtype, lists.rows.shape[1]):
        raise ValueError(f"query rows of {queries.rows.shape[1]} {queries.rows.dtype}, lists of another kind")
    if words.size and not 0 <= words.min() <= words.max() < num_words:
        raise ValueError(f"query words {words.min()} to {words.max()}, inverted file of {num_words} words")
