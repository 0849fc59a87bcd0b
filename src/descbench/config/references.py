"""Names that one block of the configuration uses for another: every one must lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from descbench.config.base import Problem, close_names
from descbench.config.datasets import WithDistractorsDataset
from descbench.config.models import AsmkMethod, Config, GlobalFeatures, LocalFeatures, ReleasedFeatures
from descbench.config.networks import (
    ClusteredWeights,
    FireModel,
    GemModel,
    HowModel,
    ImagenetWeights,
    Model,
    NetVladModel,
    OfficialWeights,
    PcaWeights,
    TrainedWeights,
    WeightsFromImages,
    WhitenedWeights,
)


def check_references(config: Config) -> Iterator[Problem]:
    """Yield ``(path, message)`` for every name that leads nowhere and every pair that does not fit."""
    yield from _site(config)
    yield from _datasets(config)
    yield from _patch_sets(config)
    yield from _models(config)
    yield from _training(config)
    yield from _features(config)
    yield from _methods(config)
    yield from _tables(config)


def _site(config: Config) -> Iterator[Problem]:
    if config.device == "cuda" and config.backend != "torch":
        yield ("backend",), f"{config.backend} runs on the CPU; set `device: cpu`, or `backend: torch` for CUDA"


def _missing(path: tuple[Any, ...], name: str, section: str, known: Mapping[str, Any]) -> Iterator[Problem]:
    if name in known:
        return
    yield path, f"there is no {name!r} in section `{section}`; {close_names(name, known)}"


def _datasets(config: Config) -> Iterator[Problem]:
    for name, dataset in config.datasets.items():
        path = ("datasets", name)
        for key in ("sources", "image_sources"):
            for source in getattr(dataset, key):
                yield from _missing((*path, key), source, "sources", config.sources)
        if isinstance(dataset, WithDistractorsDataset):
            yield from _missing((*path, "base"), dataset.base, "datasets", config.datasets)
            yield from _missing((*path, "distractors"), dataset.distractors, "datasets", config.datasets)


def _patch_sets(config: Config) -> Iterator[Problem]:
    for name, patch_set in config.patch_sets.items():
        for source in patch_set.sources:
            yield from _missing(("patch_sets", name, "sources"), source, "sources", config.sources)


def _models(config: Config) -> Iterator[Problem]:
    for name, model in config.models.items():
        path, weights = ("models", name, "weights"), model.weights
        if isinstance(weights, OfficialWeights | ImagenetWeights):
            yield from _missing((*path, "file"), weights.file, "sources", config.sources)
        yield from _fitting_weights(path, model)
        if isinstance(weights, WeightsFromImages | TrainedWeights):
            yield from _start(config, path, name, model)
        if isinstance(weights, WeightsFromImages):
            yield from _missing((*path, "dataset"), weights.dataset, "datasets", config.datasets)
        if isinstance(weights, TrainedWeights):
            yield from _missing((*path, "training"), weights.training, "training", config.training)
            training = config.training.get(weights.training)
            if training is not None and training.recipe != model.architecture:
                yield (*path, "training"), f"trains {training.recipe}, this model is {model.architecture}"


def _fitting_weights(path: tuple[Any, ...], model: Model) -> Iterator[Problem]:
    """Ways to make weights that only some networks know."""
    netvlad = isinstance(model, NetVladModel)
    match model.weights:
        case WhitenedWeights() if not isinstance(model, HowModel | FireModel):
            yield (*path, "source"), f"whitened: {model.architecture} has no reduction of local descriptors"
        case ImagenetWeights() if isinstance(model, GemModel):
            yield (*path, "source"), "imagenet: gem has its own published checkpoints; use source official or random"
        case ClusteredWeights() if not netvlad or model.pooling != "netvlad":
            yield (*path, "source"), "clustered: only architecture netvlad with pooling netvlad has clusters"
        case PcaWeights() if not netvlad or model.whitening is None:
            yield (*path, "source"), "pca: only architecture netvlad has such a whitening; set `whitening` of the model"


def _start(config: Config, path: tuple[Any, ...], name: str, model: Model) -> Iterator[Problem]:
    """The model that weights start from: there, of the same architecture, and not made from this one."""
    yield from _missing((*path, "start"), model.weights.start, "models", config.models)
    seen, start = [name], config.models.get(model.weights.start)
    if start is None:
        return
    wanted, only = model.model_dump(exclude={"weights"}), "`weights` may differ"
    if isinstance(model.weights, PcaWeights):
        wanted["whitening"] = None
        only += ", and it has no `whitening`"
    if start.model_dump(exclude={"weights"}) != wanted:
        yield (*path, "start"), f"{model.weights.start!r} is another network; only {only}"
    following = model.weights.start
    while following in config.models:
        if following in seen:
            yield (*path, "start"), f"starts from itself: {' <- '.join([*seen, following])}"
            return
        seen.append(following)
        following = getattr(config.models[following].weights, "start", None)


def _training(config: Config) -> Iterator[Problem]:
    for name, training in config.training.items():
        path = ("training", name)
        yield from _missing((*path, "dataset"), training.dataset, "datasets", config.datasets)
        dataset = config.datasets.get(training.dataset)
        wanted = ("dbstruct", "utm_names") if training.recipe == "netvlad" else ("sfm120k",)
        if dataset is not None and dataset.format not in wanted:
            yield (
                (*path, "dataset"),
                f"{training.dataset!r} is of format {dataset.format}; {training.recipe} is trained on "
                f"{' or '.join(wanted)}",
            )
        if training.validation is not None:
            yield from _missing(
                (*path, "validation", "dataset"), training.validation.dataset, "datasets", config.datasets
            )


def _features(config: Config) -> Iterator[Problem]:
    for name, features in config.features.items():
        path = ("features", name)
        if isinstance(features, ReleasedFeatures):
            for dataset, source in features.files.items():
                yield from _missing((*path, "files"), dataset, "datasets", config.datasets)
                yield from _missing((*path, "files", dataset), source, "sources", config.sources)
            continue
        yield from _missing((*path, "model"), features.model, "models", config.models)
        model = config.models.get(features.model)
        if model is not None and isinstance(features, LocalFeatures) and isinstance(model, GemModel | NetVladModel):
            yield (*path, "kind"), f"model {features.model!r} ({model.architecture}) has no local features"


def _methods(config: Config) -> Iterator[Problem]:
    for name, method in config.methods.items():
        path = ("methods", name)
        yield from _missing_features(config, (*path, "features"), method.features)
        features = config.features.get(method.features)
        if isinstance(method, AsmkMethod):
            yield from _asmk(config, path, method, features)
        elif features is not None and not isinstance(features, GlobalFeatures):
            yield (*path, "features"), f"{method.search} needs features of kind global, {method.features!r} are not"


def _missing_features(config: Config, path: tuple[Any, ...], name: str) -> Iterator[Problem]:
    """Features of a model need no block, but for those of a custom one, which may be local or global."""
    if name in config.models and name not in config.features:
        yield path, f"model {name!r} does not say what features it has; write `features: {{{name}: {{kind: ...}}}}`"
    else:
        yield from _missing(path, name, "features", config.features)


def _asmk(config: Config, path: tuple[Any, ...], method: AsmkMethod, features: Any) -> Iterator[Problem]:
    codebook = method.codebook
    yield from _missing_features(config, (*path, "codebook", "features"), codebook.features)
    yield from _missing((*path, "codebook", "dataset"), codebook.dataset, "datasets", config.datasets)
    training = config.features.get(codebook.features)
    for where, block in (((*path, "features"), features), ((*path, "codebook", "features"), training)):
        if isinstance(block, GlobalFeatures):
            yield where, "asmk needs local features, these are global"
    for where, block, n in (
        ((*path, "n"), features, method.n),
        ((*path, "codebook", "n"), training, codebook.n or method.n),
    ):
        if isinstance(block, LocalFeatures) and n > block.max_features:
            extracted = f"the {block.max_features} features an image that were extracted"
            yield where, f"{n} is more than {extracted}; raise `max_features`"
    if isinstance(features, LocalFeatures) and isinstance(training, LocalFeatures) and features.model != training.model:
        yield (
            (*path, "codebook", "features"),
            f"learned with model {training.model!r}, but the method searches features of {features.model!r}",
        )


def _tables(config: Config) -> Iterator[Problem]:
    for name, table in config.tables.items():
        for number, column in enumerate(table.columns):
            path = ("tables", name, "columns", number, "dataset")
            yield from _missing(path, column.dataset, "datasets", config.datasets)
        shown = {(column.dataset, column.metric) for column in table.columns}
        labels = [row.label for row in table.rows]
        for number, row in enumerate(table.rows):
            path = ("tables", name, "rows", number)
            yield from _missing((*path, "method"), row.method, "methods", config.methods)
            if labels.count(row.label) > 1:
                yield (*path, "label"), f"two rows are called {row.label!r}"
            cells = [(figure.dataset, figure.metric) for figure in row.reference_results]
            for index, figure in enumerate(row.reference_results):
                if cells.index(cells[index]) < index:
                    yield (
                        (*path, "reference_results", index),
                        f"a second figure for {figure.metric} of {figure.dataset}",
                    )
                if (figure.dataset, figure.metric) not in shown:
                    yield (
                        (*path, "reference_results", index),
                        f"{figure.metric} of {figure.dataset} is no column of this table",
                    )
            if table.synthetic and (row.reference_results or row.reference):
                yield path, "a table of drawn images has no published figures"
