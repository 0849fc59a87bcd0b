"""Features of the user's own images as a features block says, kept in a folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from descbench.command_files import made
from descbench.config.features import Features
from descbench.config.models import Config
from descbench.datasets.manifest import Manifest, write_manifest
from descbench.datasets.own import with_contents
from descbench.errors import ConfigError
from descbench.features.extract import extract_features
from descbench.features.extractor import Network, digest_networks
from descbench.features.shards import ShardSpec
from descbench.features.store import ShardReader
from descbench.plan import Plan

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DescribedImages:
    """Images with their features.

    Attributes:
        manifest: its file.
        listed: what stands in it.
        root: folder that its paths are relative to.
        shards: feature shards of the role, in order.
        unread: images that could not be read, and have no features.
    """

    manifest: Path
    listed: Manifest
    root: Path
    shards: tuple[Path, ...]
    unread: int = 0


@dataclass(frozen=True)
class WorkFeatures:
    """Features of images that are described in this process; shards that are there and fit are not made again.

    Attributes:
        config: of the features, models and the device.
        features: name of the features block.
        work: folder that is kept: manifests, what is known of files, feature shards.
        configfiles: overlays of the configuration, for messages.
        skip_unread: leave out images that cannot be read, whatever the features block says.

    Raises:
        ConfigError: the features are released ones, without a network.
        DataError: a checkpoint that is not there; the message names the command that makes it.
    """

    config: Config
    features: str
    work: Path
    configfiles: Sequence[Path] = field(default=())
    skip_unread: bool = False

    def __post_init__(self) -> None:
        if not self.config.features[self.features].READS_IMAGES:
            raise ConfigError(f"features {self.features!r} are released ones: there is no network to describe images.")

    @cached_property
    def block(self) -> Features:
        """The features block, with what is done about images that cannot be read."""
        block = self.config.features[self.features]
        return block.model_copy(update={"on_bad_image": "skip"}) if self.skip_unread else block

    @cached_property
    def networks(self) -> dict[str, Network]:
        """Networks of the features block, by the names of their models."""
        block, paths = self.config.features[self.features], Plan(self.config).paths
        return {
            model: Network(made(Path(paths.checkpoint(model)), self.configfiles), self.config.models[model])
            for model in block.networks
        }

    def describe(
        self, name: str, images: Manifest, root: Path, role: str = "database", source: str | None = None
    ) -> DescribedImages:
        """Describe the images of one role.

        Args:
            name: of the files in the work folder.
            images: of a dataset, without their content.
            root: folder that its paths are relative to.
            role: which of them.
            source: where they are listed, for messages; None: they are the files of a folder.

        Raises:
            DataError: an image is missing or damaged, or a checkpoint is not there.
        """
        networks, path = self.networks, self.work / f"{name}.csv"
        listed = with_contents(images, root, self.work / f"{name}.images.txt")
        write_manifest(listed, path)
        weights, digest = digest_networks(networks), Plan(self.config).lineage.digest_features(self.features)
        running = {"device": self.config.device, "backend": self.config.backend, "kept": self.work / "kept"}
        of_role, shards, unread = listed.of_role(role), [], 0
        for start in range(0, len(of_role), self.config.shard_size):
            stop = min(start + self.config.shard_size, len(of_role))
            shards.append(self.work / f"{name}-{start:08d}.h5")
            may_lack = self.block.on_bad_image == "skip"
            if not (kept := _fits(shards[-1], of_role.slice(start, stop), digest, weights, may_lack)):
                shard = ShardSpec(listed, source or str(root), role, start, stop, digest)
                extract_features(shard, root, networks, self.block, shards[-1], **running)
            unread += len(_skipped(shards[-1], warn=kept))
        for left in set(self.work.glob(f"{name}-{'[0-9]' * 8}.h5")) - set(shards):
            left.unlink()
        return DescribedImages(path, listed, root, tuple(shards), unread)


def _fits(shard: Path, images: Manifest, features: str, checkpoint: str, may_lack: bool) -> bool:
    """Whether a shard is there and holds these images by these settings and weights; all of them, or some may lack."""
    if not shard.is_file():
        return False
    with ShardReader(shard) as reader:
        found, lacks = reader.info, bool(reader.skipped)
    if lacks and not may_lack:
        return False
    return (found.images, found.features, found.checkpoint) == (images.digest(), features, checkpoint)


def _skipped(shard: Path, warn: bool) -> list[str]:
    """Why images of a shard were skipped; a shard of an earlier call has them warned of again."""
    with ShardReader(shard) as reader:
        reasons = list(reader.skipped.values())
    for reason in reasons if warn else ():
        _log.warning("skipped: %s", reason)
    return reasons
