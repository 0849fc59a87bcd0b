"""Whether blocks that use each other fit: roles, metrics, counts and dimensions. All names lead somewhere by now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from descbench.config.base import Problem, close_names
from descbench.config.datasets import (
    Dataset,
    DescriptorBagDataset,
    FolderDataset,
    Metrics,
    UtmNamesDataset,
    WithDistractorsDataset,
)
from descbench.config.models import AsmkMethod, Config, FlatMethod, ReleasedFeatures
from descbench.config.networks import GemModel, NetVladModel, WeightsFromImages
from descbench.config.patch_sets import PatchSet

Path = tuple[Any, ...]
# More jobs than Snakemake can plan.
_MOST_SHARDS = 100_000
# Sections of `toytown` that may be null, and what they are of.
_DRAWN_UNLESS_NULL = {"streets": "streets", "sequences": "sequences", "phototour": "patches"}


def check_fits(config: Config) -> Iterator[Problem]:
    """Yield ``(path, message)`` for every block that cannot do what another wants of it."""
    for name, dataset in config.datasets.items():
        yield from _dataset(config, name, dataset)
    for name, patch_set in config.patch_sets.items():
        yield from _unpacked(config, ("patch_sets", name), patch_set, "sources")
        yield from _drawn(config, ("patch_sets", name), patch_set)
        yield from _drawn_parts(config, ("patch_sets", name), patch_set)
    for name, model in config.models.items():
        if isinstance(model.weights, WeightsFromImages):
            path, weights = ("models", name, "weights"), model.weights
            yield from _images(config, path, weights.dataset, weights.role)
    for name, training in config.training.items():
        yield from _training(config, ("training", name), training)
    for name, method in config.methods.items():
        if isinstance(method, AsmkMethod):
            yield from _codebook(config, ("methods", name, "codebook"), method)
        else:
            yield from _dimensions(config, ("methods", name, "dim"), method)
    for name, table in config.tables.items():
        for number, column in enumerate(table.columns):
            path = ("tables", name, "columns", number)
            yield from _metric((*path, "metric"), column.metric, column.dataset, scored_metrics(config, column.dataset))


def _dataset(config: Config, name: str, dataset: Dataset) -> Iterator[Problem]:
    path = ("datasets", name)
    if f"{name}.h5" in config.datasets:
        yield path, f"files of {name!r} and {name + '.h5'!r} would have the same names; rename one"
    if dataset.HAS_IMAGE_PAIRS and f"{name}.pairs" in config.datasets:
        yield path, f"its pairs and the manifest of {name + '.pairs'!r} would have the same name; rename one"
    for key in ("sources", "image_sources"):
        yield from _unpacked(config, path, dataset, key)
    for role, count in dataset.counts.items():
        shards = -(-count // (dataset.shard_size or config.shard_size))
        if shards > _MOST_SHARDS:
            yield (*path, "counts", role), f"{shards} shards are more than {_MOST_SHARDS}; raise `shard_size`"
    if isinstance(dataset, WithDistractorsDataset):
        yield from _distractors(config, path, dataset)
    yield from _drawn(config, path, dataset)


def _unpacked(config: Config, path: Path, block: Dataset | PatchSet, key: str) -> Iterator[Problem]:
    for source in getattr(block, key):
        if config.sources[source].unpack is None:
            yield (*path, key), f"source {source!r} has no `unpack`, which says where it belongs"


def _distractors(config: Config, path: Path, dataset: WithDistractorsDataset) -> Iterator[Problem]:
    for key, role in (("base", "query"), ("base", "database"), ("distractors", "database")):
        name = getattr(dataset, key)
        if isinstance(config.datasets[name], WithDistractorsDataset):
            yield (*path, key), f"{name!r} has distractors itself; name a dataset of its own images"
            return
        yield from _images(config, path, name, role, key)
    added = config.datasets[dataset.distractors]
    if "database" not in added.counts and not isinstance(added, FolderDataset | UtmNamesDataset):
        yield (
            (*path, "distractors"),
            f"{dataset.distractors!r} needs `counts: {{database: ...}}`: distractors are numbered from their end",
        )


def _drawn(config: Config, path: Path, block: Dataset | PatchSet) -> Iterator[Problem]:
    """Files of the drawn town that the settings of the town do not give."""
    if block.generator is None:
        return
    towns = config.toytown
    for key in ("images", "ground_truth", "database", "struct", "queries", "folder"):
        parts = str(getattr(block, key, "")).split("/")
        for section, what in _DRAWN_UNLESS_NULL.items():
            if parts[:2] == ["toytown", section] and getattr(towns, section) is None:
                yield (*path, key), f"no {what} are drawn: `toytown.{section}` is null"
        if parts[:2] == ["toytown", "test"] and parts[2:] and parts[2] not in towns.cities:
            yield (*path, key), f"no city {parts[2]!r} is drawn: `toytown.cities` are {', '.join(towns.cities)}"


def _drawn_parts(config: Config, path: Path, patch_set: PatchSet) -> Iterator[Problem]:
    """Parts that the drawn town does not have."""
    drawn = config.toytown.phototour
    if patch_set.generator is None or drawn is None or patch_set.folder != "toytown/phototour":
        return
    for number, part in enumerate(patch_set.parts):
        if part not in drawn.parts:
            known = ", ".join(drawn.parts)
            yield (*path, "parts", number), f"no part {part!r} is drawn: `toytown.phototour.parts` are {known}"


def _images(config: Config, path: Path, name: str, role: str, key: str = "dataset") -> Iterator[Problem]:
    """A dataset must have images of a role."""
    dataset = config.datasets[name]
    where = (*path, key)
    if isinstance(dataset, WithDistractorsDataset):
        yield where, f"{name!r} has no images of its own; name its base, {dataset.base!r}"
    elif isinstance(dataset, DescriptorBagDataset):
        yield where, f"{name!r} is a bag of descriptors without images"
    elif role not in dataset.roles():
        yield (where if key != "dataset" else (*path, "role")), _no_role(name, dataset, role)


def _no_role(name: str, dataset: Dataset, role: str) -> str:
    return f"{name!r} (format {dataset.format}) has no images of role {role}, only {' and '.join(dataset.roles())}"


def _training(config: Config, path: Path, training: Any) -> Iterator[Problem]:
    dataset = config.datasets[training.dataset]
    if training.recipe != "netvlad" and "train" not in dataset.roles():
        yield (*path, "dataset"), _no_role(training.dataset, dataset, "train")
    if training.validation is None:
        return
    name, where = training.validation.dataset, (*path, "validation")
    if isinstance(config.datasets[name], WithDistractorsDataset):
        yield (*where, "dataset"), f"{name!r} has no images of its own; name its base"
    else:
        yield from _metric((*where, "metric"), training.validation.metric, name, config.datasets[name].metrics())


def _codebook(config: Config, path: Path, method: AsmkMethod) -> Iterator[Problem]:
    name, role = method.codebook.dataset, method.codebook.role
    dataset, features = config.datasets[name], config.features[method.codebook.features]
    if isinstance(features, ReleasedFeatures):
        if name not in features.files:
            yield (*path, "dataset"), f"features {method.codebook.features!r} have no released file for {name!r}"
        if role not in dataset.roles():
            yield (*path, "role"), _no_role(name, dataset, role)
    else:
        yield from _images(config, path, name, role)


def _dimensions(config: Config, path: Path, method: FlatMethod) -> Iterator[Problem]:
    model = config.models.get(getattr(config.features[method.features], "model", ""))
    if method.dim is not None and isinstance(model, GemModel | NetVladModel) and method.dim > model.most_dimensions():
        yield path, f"{method.dim} is more than the {model.most_dimensions()} dimensions of {method.features!r}"


def scored_metrics(config: Config, name: str) -> Metrics:
    """What the scores on a dataset hold, those of its base where it has distractors."""
    dataset = config.datasets[name]
    base = dataset.base if isinstance(dataset, WithDistractorsDataset) else name
    return config.datasets[base].metrics()


def _metric(path: Path, metric: str, dataset: str, found: Metrics) -> Iterator[Problem]:
    if metric in found.names:
        return
    if not found.names:
        yield path, f"nothing on {dataset!r} can be scored: {found.why}"
        return
    hint = close_names(metric, found.names)
    yield path, f"scores on {dataset!r} ({found.why}) have no {metric!r}; {hint}"
