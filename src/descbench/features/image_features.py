"""Features of single images, read from the shards of one role of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from descbench.errors import DataError
from descbench.features.store import Block, ShardReader, check_shard
from descbench.io.digests import digest_of


class ImageFeatures:
    """Context manager that reads the features of one image at a time.

    Args:
        shards: of one role of a dataset, in any order.
        features: digest of the features block that they must be of; None: any.
        first_id: images of all shards in order are numbered from here on, as in a ranking with distractors; None: they
            have the ids of their dataset.

    Attributes:
        digest: of what the shards were made from, which is another one where any of their features may be.
        skipped: image id -> reason, of the images that could not be read.

    Raises:
        DataError: a shard is absent or damaged, or two hold the same image.
        StaleFileError: they were made by another configuration.
    """

    def __init__(self, shards: Sequence[Path], features: str | None = None, *, first_id: int | None = None) -> None:
        self._stack = ExitStack()
        self._places: dict[int, tuple[ShardReader, int]] = {}
        self.skipped: dict[int, str] = {}
        made_from = []
        try:
            for path in shards:
                reader = self._stack.enter_context(ShardReader(path))
                check_shard(reader, features=features)
                self._add(reader, first_id)
                made_from.append([reader.info.features, reader.info.images, reader.info.checkpoint])
        except BaseException:
            self._stack.close()
            raise
        self.digest = digest_of(made_from)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __len__(self) -> int:
        """Number of images."""
        return len(self._places)

    def _add(self, reader: ShardReader, first_id: int | None) -> None:
        own = reader.image_ids.tolist()
        start = None if first_id is None else first_id + len(self._places)
        ids = dict(zip(own, own if start is None else range(start, start + len(own)), strict=True))
        for position, image in enumerate(ids.values()):
            if image in self._places:
                raise DataError(f"{reader.path}: image {image} is in another shard too; delete both and rerun.")
            self._places[image] = reader, position
        self.skipped.update({ids[image]: reason for image, reason in reader.skipped.items()})

    def of(self, image_id: int, n: int | None = None) -> Block:
        """The ``n`` strongest features of an image (None: all); there may be none.

        Raises:
            DataError: no shard holds the image.
        """
        if image_id not in self._places:
            raise DataError(f"image {image_id} is in none of the {len(self)} images of these features; extract again.")
        reader, position = self._places[image_id]
        return reader.read(position, position + 1, n)

    def descriptors(self, image_id: int, n: int | None = None) -> np.ndarray:
        """(N, D) float32 of :meth:`of`."""
        return self.of(image_id, n).descriptors

    def keypoints(self, image_id: int, n: int | None = None) -> np.ndarray:
        """(N, 2) float32 x, y of :meth:`of` in pixels of the original image, whose first pixel has its centre at 0, 0.

        Raises:
            DataError: no shard holds the image, or its features have no place.
        """
        block = self.of(image_id, n)
        if block.keypoints is None and len(block.descriptors):
            reader, _ = self._places[image_id]
            raise DataError(f"{reader.path}: features without a place in the image, which matching needs.")
        # Stored are places whose first pixel has its centre at 0.5, 0.5.
        return np.zeros((0, 2), np.float32) if block.keypoints is None else block.keypoints - np.float32(0.5)
