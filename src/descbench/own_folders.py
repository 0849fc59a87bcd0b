"""The user's own folders of images, read while the workflow is planned: how many shards there are follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descbench.datasets.manifest import Manifest
from descbench.datasets.own import OwnImages, is_own, list_own, listing_digest, own_root, with_contents
from descbench.lineage import Lineage
from descbench.paths import Paths

# What of the block of a dataset decides which images its folders hold, and what no such block may lack.
_DECISIVE = {
    "format",
    "database",
    "queries",
    "ground_truth",
    "positives",
    "numbers",
    "folder",
    "on_bad_file",
    "model",
    "images",
    "query_list",
    "map",
}
# What a block may not lack either, though it decides labels alone: always the same value.
_OF_LABELS = {"tolerance": 0}


@dataclass(frozen=True)
class Shard:
    """Images ``start:stop`` of one role of a dataset; ``stop`` is None where their number is not known in advance."""

    name: str
    start: int
    stop: int | None


class OwnFolders:
    """What the user's own folders hold.

    Methods named ``list_...`` read the names of the files, those named ``digest_...`` also the content of images that
    are new or changed. A folder is listed once.
    """

    def __init__(self, lineage: Lineage, paths: Paths) -> None:
        self._lineage, self._paths = lineage, paths
        self._listings: dict[str, OwnImages] = {}
        self._contents: dict[str, Manifest] = {}

    def holds(self, dataset: str) -> bool:
        """Whether the images of a dataset are in folders of the user's."""
        return is_own(self._block(dataset))

    def root(self, dataset: str) -> str:
        """Folder of the user's that the paths of a dataset's manifest are relative to."""
        return own_root(self._block(dataset)).as_posix()

    def settings(self, dataset: str) -> dict[str, Any] | None:
        """What of the block of a dataset decides which images its folders hold; None of official datasets."""
        if not self.holds(dataset):
            return None
        block = self._block(dataset)
        labels = {key: value for key, value in _OF_LABELS.items() if key in type(block).model_fields}
        return block.model_dump(mode="json", include=_DECISIVE) | labels

    def list_images(self, dataset: str) -> OwnImages:
        """Images, labels and what is left out, of a dataset in folders of the user's.

        Raises:
            DataError: a folder or a list in it is absent, empty or malformed.
        """
        base = self._lineage.base_dataset(dataset)
        if base not in self._listings:
            self._listings[base] = list_own(self._block(base))
        return self._listings[base]

    def digest_listing(self, dataset: str) -> str:
        """Digest of all files, so that added, removed and replaced ones are noticed; empty of official datasets."""
        return listing_digest(self._manifest(dataset), self.list_images(dataset)) if self.holds(dataset) else ""

    def digest_images(self, dataset: str, role: str, shard: Shard) -> str | None:
        """Digest that a feature shard has of its images; None where only the official list can tell."""
        if not self.holds(dataset):
            return None
        return self._manifest(dataset).of_role(role).slice(shard.start, shard.stop).digest()

    def expected_images(self, dataset: str, role: str, shards: Sequence[Shard]) -> list[str | dict[str, Any]]:
        """What readers of feature shards compare their images with, of each.

        The digest of the user's own images. Of official datasets, whose lists may not be there yet, where a job finds
        it: ``manifest``, ``role``, ``start`` and ``stop``.
        """
        if self.holds(dataset):
            return [self.digest_images(dataset, role, shard) for shard in shards]
        manifest = self._paths.manifest(self._lineage.base_dataset(dataset))
        return [{"manifest": manifest, "role": role, "start": shard.start, "stop": shard.stop} for shard in shards]

    def _block(self, dataset: str) -> Any:
        return self._lineage.base_block(dataset)

    def _manifest(self, dataset: str) -> Manifest:
        """Images of a dataset with their content, which is read where it is new or changed."""
        base = self._lineage.base_dataset(dataset)
        if base not in self._contents:
            root, records = own_root(self._block(base)), Path(self._paths.image_records(base))
            self._contents[base] = with_contents(self.list_images(base).manifest, root, records)
        return self._contents[base]
