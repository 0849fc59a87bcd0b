"""What blocks of several sections check of others. All names lead somewhere by the time these are asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from descbench.config.base import Metrics, Problem, close_names

# Sections of `toytown` that may be null, and what they are of.
_DRAWN_UNLESS_NULL = {
    "streets": "streets",
    "sequences": "sequences",
    "phototour": "patches",
    "strips": "strips",
    "singles": "single images",
    "relocalisation": "images to localise in",
}


def no_images(config: Any, dataset: str, role: str) -> Problem | None:
    """Why a dataset has no images of a role, if it has none: ``(path beside the name, message)``."""
    block = config.datasets[dataset]
    if (why := block.without_images(dataset)) is not None:
        return ("dataset",), why
    return no_role(config, dataset, role)


def no_role(config: Any, dataset: str, role: str) -> Problem | None:
    """Why a dataset has nothing of a role, if it has nothing."""
    block = config.datasets[dataset]
    if role in block.roles():
        return None
    known = " and ".join(block.roles())
    return ("role",), f"{dataset!r} (format {block.format}) has no images of role {role}, only {known}"


def no_metric(config: Any, dataset: str, metric: str) -> str | None:
    """Why the scores on a dataset do not hold a metric, if they do not."""
    found = scored_metrics(config, dataset)
    if metric in found.names:
        return None
    if not found.names:
        return f"nothing on {dataset!r} can be scored: {found.why}"
    return f"scores on {dataset!r} ({found.why}) have no {metric!r}; {close_names(metric, found.names)}"


def images_of(config: Any, dataset: str, role: str, most: int | None = None) -> int | None:
    """Images of a role, at most ``most``; None where nothing says how many there are."""
    block = config.datasets[dataset]
    known = [most, block.counts.get(role) if block.counts_verified else None]
    return min((number for number in known if number is not None), default=None)


def too_many_words(words: int, config: Any, dataset: str, role: str, *, images: int | None, each: int) -> str | None:
    """Why so many words cannot be learned from the first images of a role with so many descriptors each, if so."""
    found = images_of(config, dataset, role, images)
    if found is None or found * each >= words:
        return None
    return (
        f"{words} words need at least as many descriptors, and {found} images of {dataset!r} with {each} each have "
        f"{found * each}"
    )


def too_deep(config: Any, dataset: str, metric: str) -> str | None:
    """Why scores on a dataset lack a metric of places, if it looks deeper than there are images."""
    depth, found = re.match(r"recall@(\d+)", metric), images_of(config, dataset, "database")
    if depth is None or found is None or int(depth[1]) <= found:
        return None
    return f"{metric} looks deeper than the {found} images of {dataset!r}, so that scores leave it out"


def scored_metrics(config: Any, dataset: str) -> Metrics:
    """What scores on a dataset or patch set hold, those of its base where it has distractors."""
    if dataset in config.patch_sets:
        return config.patch_sets[dataset].metrics()
    return config.datasets[config.datasets[dataset].base_of(dataset)].metrics()


def not_unpacked(config: Any, block: Any, key: str) -> Iterator[Problem]:
    """Sources of lists or images that do not say where their content belongs."""
    for number, source in enumerate(getattr(block, key)):
        if config.sources[source].unpack is None:
            yield (key, number), f"source {source!r} has no `unpack`, which says where it belongs"


def not_drawn(config: Any, block: Any) -> Iterator[Problem]:
    """Files of the drawn town that the settings of the town do not give."""
    if block.generator is None:
        return
    towns = config.toytown
    for key in type(block).model_fields:
        parts = str(getattr(block, key)).split("/")
        for section, what in _DRAWN_UNLESS_NULL.items():
            if parts[:2] == ["toytown", section] and getattr(towns, section) is None:
                yield (key,), f"no {what} are drawn: `toytown.{section}` is null"
        if parts[:2] == ["toytown", "test"] and parts[2:] and parts[2] not in towns.cities:
            yield (key,), f"no city {parts[2]!r} is drawn: `toytown.cities` are {', '.join(towns.cities)}"
