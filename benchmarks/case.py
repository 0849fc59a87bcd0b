"""A row of the benchmark, and the sizes of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """How much of everything: descriptors of an image, images, words of the two codebooks, queries, pixels, patches."""

    descriptors: int = 1000
    images: int = 40
    words: int = 65536
    queries: int = 8
    long_images: int = 1000
    long_words: int = 4096
    kmeans_images: int = 40
    kmeans_size: int = 32768
    mutual: int = 2000
    vlad_images: int = 2000
    vlad_queries: int = 500
    stored_images: int = 1000
    image_side: int = 512
    patches: int = 1024
    sequence_patches: int = 3000
    retrieved: int = 400
    distractors: int = 10_000
    pairs: int = 40_000
    matched: int = 1000
    crop_keypoints: int = 200
    documents: int = 1_000_000
    document_words: int = 50
    verified: int = 1000
    frames: int = 2500
    sequences: int = 2
    keypoints: int = 2000


QUICK = Sizes(
    descriptors=40,
    images=6,
    words=300,
    queries=2,
    long_images=30,
    long_words=50,
    kmeans_images=10,
    kmeans_size=50,
    mutual=60,
    vlad_images=40,
    vlad_queries=5,
    stored_images=5,
    image_side=96,
    patches=40,
    sequence_patches=60,
    retrieved=4,
    distractors=100,
    pairs=50,
    matched=40,
    crop_keypoints=10,
    documents=2000,
    document_words=5,
    verified=10,
    frames=200,
    sequences=1,
    keypoints=60,
)


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: name of the row, fixed in the design.
        plain, ours: what is timed; both return something that ``same`` compares.
        same: whether the two results are equal.
        note: sizes.
        threads: threads of our side.
        prepare: called before each measurement of a side, not timed.
    """

    name: str
    plain: Callable[[], Any]
    ours: Callable[[], Any]
    same: Callable[[Any, Any], bool]
    note: str
    threads: int = 1
    prepare: Callable[[], None] = lambda: None
