"""The part of the plan that is of pairs of images: matches, and rankings whose first images are matched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from descbench.config.models import Config
from descbench.errors import ConfigError
from descbench.lineage import Lineage
from descbench.own_folders import Shard
from descbench.paths import Paths


class PairPlan:
    """Inputs and shards of what looks at two images at a time; the attributes are those of the plan."""

    config: Config
    paths: Paths
    lineage: Lineage
    count: Callable[[str, str], int | None]
    features: Callable[..., list[str]]
    query_features: Callable[[str, str], list[str]]
    searched_features: Callable[[str, str], list[str]]
    query_role: Callable[[str], str]
    searched_role: Callable[[str], str]

    # --- lines between inliers ---

    def line_inputs(self, method: str, dataset: str) -> dict[str, Any]:
        """Files that lines between inliers are drawn from; none of a method that compares no local features."""
        block = self.config.block("methods", method)
        verified_by = block.inliers_from(method)
        if verified_by is None and block.shortlist is None:
            return {}
        role_of = {"queries": self.query_features, "database": self.searched_features}
        files: dict[str, Any] = {role: of(method, dataset) for role, of in role_of.items()}
        if verified_by is not None:
            return files | {"inliers": self.paths.inliers(verified_by, dataset)}
        return files | {"counts": self.inlier_counts(method, dataset)}

    def line_settings(self, method: str, dataset: str) -> dict[str, Any]:
        """How the inliers were found, where by matching, or of which verified ranking they are, where of another
        method's; and the digest of the features that they are of."""
        block = self.config.block("methods", method)
        verified_by = block.inliers_from(method)
        compares = verified_by is not None or block.shortlist is not None
        before = {"expanded": f"{verified_by} on {dataset}"} if verified_by not in (None, method) else {}
        return {
            **before,
            "shortlist": block.shortlist,
            "made_by": self.lineage.digest_features(block.features) if compares else None,
        }

    # --- matches ---

    def match_shards(self, dataset: str) -> list[Shard]:
        """Shards of the image pairs of a dataset, in order."""
        block = self.config.block("datasets", dataset)
        images = self.count(dataset, block.ROLES[0])
        count = None if images is None else block.pairs_of(images)
        return _cut(count, block.shard_size or self.config.shard_size)

    def match_shard(self, dataset: str, name: str) -> Shard:
        """The shard of that name.

        Raises:
            ConfigError: there is none.
        """
        return _named(self.match_shards(dataset), name, f"pairs of {dataset}")

    def matches(self, method: str, dataset: str) -> list[str]:
        """Files of matches of all image pairs of a dataset, in order."""
        return [self.paths.matches(method, dataset, shard.name) for shard in self.match_shards(dataset)]

    def matched_features(self, method: str, dataset: str, key: str = "features") -> list[str]:
        """Feature shards of all images of a dataset that has image pairs; none where the method has no such key.

        Raises:
            ConfigError: the method cannot be scored on the dataset.
        """
        self.check_fit(method, dataset)
        name = getattr(self.config.block("methods", method), key)
        return self.features(name, dataset, self.config.block("datasets", dataset).ROLES[0]) if name else []

    def check_fit(self, method: str, dataset: str) -> None:
        """Refuse a method that cannot be scored on a dataset, with the reason; ConfigError."""
        if why := self.config.block("methods", method).unfit(dataset, self.config):
            raise ConfigError(f"{method} on {dataset}: {why}.")

    # --- re-ranking ---

    def published_list(self, method: str, dataset: str) -> str:
        """Downloaded list of nearest neighbours that a ranking is read from.

        Raises:
            ConfigError: none is known.
        """
        files = self.config.block("methods", method).files
        if dataset not in files:
            raise ConfigError(f"methods.{method}.files names no list of nearest neighbours for dataset {dataset!r}.")
        return self.paths.raw(files[dataset])

    def shortlist_shards(self, method: str, dataset: str) -> list[Shard]:
        """Shards of the queries whose first images are matched: as many as make so many pairs as a shard has."""
        base = self.lineage.base_dataset(dataset)
        known = (
            self.config.block("methods", method).first,
            self.lineage.ranked(method, dataset),
            self.count(base, self.searched_role(base)),
        )
        matched = next((number for number in known if number is not None), 1)
        size = self.config.block("datasets", base).shard_size or self.config.shard_size
        return _cut(self.count(base, self.query_role(dataset)), max(size // matched, 1))

    def shortlist_shard(self, method: str, dataset: str, name: str) -> Shard:
        """The shard of that name.

        Raises:
            ConfigError: there is none.
        """
        return _named(self.shortlist_shards(method, dataset), name, f"queries of {dataset} ({method})")

    def inlier_counts(self, method: str, dataset: str) -> list[str]:
        """Files of inlier counts of all queries of a dataset, in order."""
        shards = self.shortlist_shards(method, dataset)
        return [self.paths.inlier_counts(method, dataset, shard.name) for shard in shards]


def _cut(count: int | None, size: int) -> list[Shard]:
    """Shards of so many; one of all where their number is not known, or none."""
    if not count:
        return [Shard("00000", 0, None)]
    starts = enumerate(range(0, count, size))
    return [Shard(f"{number:05d}", start, min(start + size, count)) for number, start in starts]


def _named(shards: Sequence[Shard], name: str, what: str) -> Shard:
    if int(name) >= len(shards):
        raise ConfigError(f"{what} have shards 00000 to {len(shards) - 1:05d}, not {name}.")
    return shards[int(name)]
