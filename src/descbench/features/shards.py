"""Which images of a dataset a feature shard holds: what extraction and import are told alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from descbench.datasets.manifest import Manifest, read_manifest
from descbench.errors import DataError, StaleFileError


@dataclass(frozen=True)
class ShardSpec:
    """Images ``start:stop`` of one role of a dataset, and the digests that readers of the shard will ask for.

    Attributes:
        listed: manifest of the whole dataset.
        source: where it is from, for messages.
        role: which of its images.
        start, stop: positions within the role; no ``stop``: all that follow.
        features: digest of the features block.
        images: digest that the images must have; None: unchecked.
    """

    listed: Manifest
    source: str
    role: str
    start: int
    stop: int | None
    features: str
    images: str | None = None

    @classmethod
    def read(cls, manifest: Path, role: str, start: int, stop: int | None, *, features: str) -> ShardSpec:
        """The same, of a dataset whose manifest is a file.

        Raises:
            DataError: it is absent or damaged.
        """
        return cls(read_manifest(manifest), str(manifest), role, start, stop, features)

    def find_images(self) -> Manifest:
        """The images of the shard.

        Raises:
            DataError: the manifest is shorter than the shard.
            StaleFileError: the images are others than :attr:`images` says.
        """
        found = self.listed.of_role(self.role).slice(self.start, self.stop)
        if self.stop is not None and len(found) != self.stop - self.start:
            raise DataError(
                f"{self.source}: ends before image {self.stop} of role {self.role}, which a shard should hold; correct "
                "`counts` of this dataset or rebuild the manifest."
            )
        if self.images not in (None, found.digest()):
            raise StaleFileError(f"{self.source}: lists other images than were planned with; run again.")
        return found
