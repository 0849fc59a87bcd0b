"""Features of the user's own photographs outlive their shards: what was described once is not described again.

Beside the shards of a dataset lies a folder of hard links to them, each with a list of the images' contents. When
photographs are added, removed or replaced, shards are made anew, and take from there what they can by content; only
the rest goes through the network. A file whose shard is gone is deleted once the other files hold its images too.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from descbench.datasets.contents import ABSENT
from descbench.datasets.manifest import ManifestRow
from descbench.errors import DataError
from descbench.features.store import Block, ShardInfo, ShardReader
from descbench.io.atomic import atomic_path, remove_leftovers
from descbench.io.digests import digest_of
from descbench.io.jsonfiles import as_record, read_json, write_checked_json

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Kept:
    """What the list beside a kept shard says: what made it, and the keys of its images in their order."""

    made_by: list[str]
    images: list[str]


class KeptFeatures:
    """Context manager over the folder of one features block and dataset.

    Args:
        folder: of the links; made when something is kept.
        info: of the shard in the making: what was made by other settings, weights, devices or backends is not used.
    """

    def __init__(self, folder: Path, info: ShardInfo) -> None:
        self._folder, self._info, self._stack = folder, info, ExitStack()
        self._places: dict[str, tuple[ShardReader, int]] = {}

    def __enter__(self) -> Self:
        for listed in sorted(self._folder.glob("*.json")):
            keys = self._keys(listed)
            if keys is None:
                continue
            reader = self._open(listed.with_suffix(".h5"), len(keys))
            if reader is not None:
                ids = reader.image_ids.tolist()
                readable = (n for n, image_id in enumerate(ids) if image_id not in reader.skipped)
                self._places |= {keys[n]: (reader, n) for n in readable}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def find(self, row: ManifestRow) -> Block | None:
        """Features of an image of that content and crop; None where there are none."""
        place = None if row.content in (None, ABSENT) else self._places.get(_key(row))
        if place is None:
            return None
        reader, position = place
        try:
            return reader.read(position, position + 1)
        except DataError as error:
            _log.warning("not used again: %s", error)
            return None

    def is_unturned(self, row: ManifestRow) -> bool:
        """Whether the features that :meth:`find` gives are of an image that EXIF says is to be turned."""
        reader, position = self._places[_key(row)]
        return int(reader.image_ids[position]) in reader.unturned

    def keep(self, shard: Path, rows: Sequence[ManifestRow], dataset: Sequence[ManifestRow]) -> None:
        """Remember a finished shard.

        Args:
            shard: the file.
            rows: its images.
            dataset: all images of the dataset; what only others need is let go.
        """
        keys = [_key(row) for row in rows]
        stem = self._stem(keys)
        try:
            with atomic_path(self._folder / f"{stem}.h5") as temporary:
                os.link(shard, temporary)
        except (OSError, DataError) as error:
            _log.info("%s is not kept for later (%s).", shard, error)
            return
        write_checked_json(self._folder / f"{stem}.json", {"made_by": self._origin(), "images": keys})
        self._forget({_key(row) for row in dataset})

    def _forget(self, wanted: set[str]) -> None:
        """Delete what belongs to no shard any more, and holds nothing that the others lack."""
        for left in self._folder.glob("*.tmp-*"):  # of killed jobs: a link too many
            remove_leftovers(left.with_name(left.name.split(".tmp-")[0]))
        listed = {path: self._keys(path) for path in self._folder.glob("*.json")}
        used = {path for path in listed if _links(path.with_suffix(".h5")) > 1}
        safe = {key for path in used for key in listed[path] or ()}
        for path in listed.keys() - used:
            if not (set(listed[path] or ()) & wanted) - safe:
                path.with_suffix(".h5").unlink(missing_ok=True)
                path.unlink(missing_ok=True)

    def _origin(self) -> list[str]:
        return [self._info.features, self._info.checkpoint, self._info.device, self._info.backend]

    def _stem(self, keys: Sequence[str]) -> str:
        """Name of the files of a shard with these images."""
        return digest_of([*self._origin(), keys])[:32]

    def _keys(self, path: Path) -> list[str] | None:
        """Keys of the images of a kept file; None of one that is damaged, of another origin, or another's."""
        try:
            kept = as_record(_Kept, read_json(path, "list of kept features"), path, "list of kept features")
        except DataError as error:
            _log.info("not used again: %s", error)
            return None
        return kept.images if kept.made_by == self._origin() and self._stem(kept.images) == path.stem else None

    def _open(self, path: Path, images: int) -> ShardReader | None:
        try:
            reader = self._stack.enter_context(ShardReader(path))
        except DataError as error:
            _log.info("not used again: %s", error)
            return None
        info = reader.info
        found = [info.features, info.checkpoint, info.device, info.backend]
        return reader if found == self._origin() and reader.num_images == images else None


def _key(row: ManifestRow) -> str:
    return f"{row.content} {list(row.box)}" if row.box else str(row.content)


def _links(path: Path) -> int:
    try:
        return path.stat().st_nlink
    except OSError:
        return 0
