"""What rests on what: the blocks of configuration, datasets and sources behind a result, without any path.

Methods named ``digest_...`` read the user's own code and weights; the others know the configuration alone.
"""

from __future__ import annotations

from typing import Any

from descbench.config.base import ENDING, SPEED, decisive
from descbench.config.models import Config
from descbench.config.sources import Source
from descbench.config.training import Training
from descbench.custom_modules import find_module
from descbench.features import EXTRACT_FEATURES_VERSION, IMPORT_FEATURES_VERSION
from descbench.io.digests import digest_of, sha256_file


class Lineage:
    """Relations between the blocks of one configuration."""

    def __init__(self, config: Config) -> None:
        self.config = config

    # --- sources ---

    def source_files(self, name: str) -> list[str]:
        """Names of the downloaded files that make up a source."""
        source = self.config.block("sources", name)
        return [name] if source.parts is None else [f"{part:03d}.{name}" for part in range(1, source.parts + 1)]

    def source_of_file(self, file: str) -> tuple[str, Source, int | None]:
        """Name, block and part number of the source that a downloaded file belongs to."""
        if file in self.config.sources and self.config.sources[file].parts is None:
            return file, self.config.sources[file], None
        part, _, name = file.partition(".")
        return name, self.config.block("sources", name), int(part)

    def downloaded_files(self) -> list[str]:
        """File names of all sources."""
        return [file for name in self.config.sources for file in self.source_files(name)]

    # --- datasets ---

    def base_dataset(self, name: str) -> str:
        """The dataset that holds the images and queries: itself, but for ``with_distractors``."""
        return self.config.block("datasets", name).base_of(name)

    def base_block(self, name: str) -> Any:
        """Block of the :meth:`base_dataset`."""
        return self.config.block("datasets", self.base_dataset(name))

    def searched_datasets(self, name: str) -> list[str]:
        """Datasets whose database images are searched, distractors first."""
        return list(self.config.block("datasets", name).searched_as(name))

    def ranked(self, method: str, dataset: str) -> int | None:
        """Length of a method's rankings of a dataset: its own, or what the protocol needs; None = all images."""
        return self.config.block("methods", method).top_k or self.base_block(dataset).ranked()

    # --- models ---

    def ancestry(self, model: str) -> list[str]:
        """The model, the one its weights start from, and so on to published or random weights."""
        start = self.config.block("models", model).weights.starts_from
        return [model, *(self.ancestry(start) if start else [])]

    def training_block(self, model: str) -> Training:
        """How a model is trained."""
        return self.config.block("training", self.config.block("models", model).weights.training)

    def training_datasets(self, model: str) -> list[str]:
        """Datasets that a model's weights were made from here: none, of a whitening or clusters, or of training."""
        weights = self.config.block("models", model).weights
        return [
            *weights.learned_from,
            *(self.config.block("training", weights.trained_by).datasets if weights.trained_by else ()),
        ]

    def models_from(self, *sources: str) -> list[str]:
        """Names of the models whose weights have one of these values of ``source``."""
        return [name for name, model in self.config.models.items() if model.weights.source in sources]

    # --- results ---

    def models_behind(self, features: str) -> list[str]:
        """The model that features are extracted with, and those that its weights started from."""
        model = self.config.block("features", features).extracted_by
        return [] if model is None else self.ancestry(model)

    def sources_behind(self, method: str, dataset: str) -> list[str]:
        """Names of all sources that the scores of a method on a dataset rest on."""
        block = self.config.block("methods", method)
        datasets = [*self.searched_datasets(dataset), *block.learned_from]
        names: list[str] = [s for d in datasets for s in self.config.block("datasets", d).sources]
        for feature in block.all_features:
            names += self._feature_sources(feature, datasets)
        return list(dict.fromkeys(names))

    def blocks_behind(self, method: str, dataset: str) -> dict[str, Any]:
        """The blocks of configuration that the scores of a method on a dataset rest on."""
        block = self.config.block("methods", method)
        datasets = [dataset, *self.searched_datasets(dataset), *block.learned_from]
        models = [m for f in block.all_features for m in self.models_behind(f)]
        datasets += [d for m in models for d in self.training_datasets(m)]
        weights = [self.config.block("models", m).weights for m in models]
        trainings = [w.trained_by for w in weights if w.trained_by]
        wanted = {
            "methods": [method],
            "features": block.all_features,
            "models": models,
            "training": trainings,
            "datasets": datasets,
        }
        return {
            section: {name: decisive(self.config.block(section, name), SPEED) for name in names}
            for section, names in wanted.items()
        }

    def _feature_sources(self, features: str, datasets: list[str]) -> list[str]:
        block = self.config.block("features", features)
        if block.extracted_by is None:
            return block.released_for(datasets)
        models = self.models_behind(features)
        learned = [self.config.block("datasets", d) for m in models for d in self.training_datasets(m)]
        shown = [self.config.block("datasets", d) for d in datasets]
        images = [source for dataset in (*shown, *learned) for source in dataset.image_sources]
        lists = [source for dataset in learned for source in dataset.sources]
        files = [source for m in models for source in self.config.block("models", m).weights.named_sources]
        return [*images, *lists, *files]

    # --- digests ---

    def digest_features(self, name: str) -> str:
        """Digest of all that decides the content of a features block: configuration, and the user's own files.

        When a training ends is left out: the shards name the weights themselves, and training again makes
        the checkpoint a newer one.
        """
        block = self.config.block("features", name)
        if block.extracted_by is None:
            return digest_of([IMPORT_FEATURES_VERSION, block.model_dump(mode="json")])
        names = self.ancestry(block.extracted_by)
        models = [self.config.block("models", name) for name in names]
        trainings = [self.config.block("training", m.weights.trained_by) for m in models if m.weights.trained_by]
        seed = self.config.seed if models[-1].weights.seeded else None
        blocks = [decisive(part, SPEED, ENDING) for part in (block, *models, *trainings)]
        own = [digest for name in names for digest in self.digest_own_files(name).values()]
        return digest_of([EXTRACT_FEATURES_VERSION, seed, self.config.backend, *blocks, *own])

    def digest_own_files(self, model: str) -> dict[str, str]:
        """SHA-256 of the user's own files that a model is made of, whose changes are to be noticed: code and weights.

        A file that is not there is left out; the job that reads it names it.
        """
        block = self.config.block("models", model)
        code = (find_module(block.own_code),) if block.own_code else ()
        files = [path for path in (*code, *block.weights.own_files) if path.is_file()]
        return {path.as_posix(): sha256_file(path) for path in files}

    def digest_own_files_behind(self, method: str) -> dict[str, str]:
        """SHA-256 of the user's own files that the networks behind a method are made of."""
        features = self.config.block("methods", method).all_features
        models = dict.fromkeys(model for name in features for model in self.models_behind(name))
        return {path: digest for model in models for path, digest in self.digest_own_files(model).items()}
