"""What rests on what: the blocks of configuration, datasets and sources behind a result, without any path."""

from __future__ import annotations

from typing import Any

from descbench.config.base import ENDING, SPEED, decisive
from descbench.config.models import Config
from descbench.config.training import Training
from descbench.custom_modules import find_module
from descbench.errors import ConfigError
from descbench.features import EXTRACT_FEATURES_VERSION, IMPORT_FEATURES_VERSION
from descbench.io.digests import digest_of, sha256_file


class Lineage:
    """Relations between the blocks of one configuration."""

    def __init__(self, config: Config) -> None:
        self.config = config

    # --- datasets ---

    def base_dataset(self, name: str) -> str:
        """The dataset that holds the images and queries: itself, but for ``with_distractors``."""
        return self._get("datasets", name).base_of(name)

    def searched_datasets(self, name: str) -> list[str]:
        """Datasets whose database images are searched, distractors first."""
        return list(self._get("datasets", name).searched_as(name))

    def ranked(self, method: str, dataset: str) -> int | None:
        """Length of a method's rankings of a dataset: its own, or what the protocol needs; None = all images."""
        return self._get("methods", method).top_k or self._get("datasets", self.base_dataset(dataset)).ranked()

    def patch_parts(self) -> list[str]:
        """Names of the parts of all patch sets, each once."""
        return list(dict.fromkeys(part for block in self.config.patch_sets.values() for part in block.parts))

    # --- models ---

    def ancestry(self, model: str) -> list[str]:
        """The model, the one its weights start from, and so on to published or random weights."""
        start = self._get("models", model).weights.starts_from
        return [model, *(self.ancestry(start) if start else [])]

    def training_block(self, model: str) -> Training:
        """How a model is trained."""
        return self._get("training", self._get("models", model).weights.training)

    def training_datasets(self, model: str) -> list[str]:
        """Datasets that a model's weights were made from here: none, of a whitening or clusters, or of training."""
        weights = self._get("models", model).weights
        return [
            *weights.learned_from,
            *(self._get("training", weights.trained_by).datasets if weights.trained_by else ()),
        ]

    def models_from(self, *sources: str) -> list[str]:
        """Names of the models whose weights have one of these values of ``source``."""
        return [name for name, model in self.config.models.items() if model.weights.source in sources]

    # --- results ---

    def features_digest(self, name: str) -> str:
        """Digest of all configuration that decides the content of a features block.

        When a training ends is left out: the shards name the weights themselves, and training again makes
        the checkpoint a newer one.
        """
        block = self._get("features", name)
        if block.extracted_by is None:
            return digest_of([IMPORT_FEATURES_VERSION, block.model_dump(mode="json")])
        names = self.ancestry(block.extracted_by)
        models = [self._get("models", name) for name in names]
        trainings = [self._get("training", m.weights.trained_by) for m in models if m.weights.trained_by]
        seed = self.config.seed if models[-1].weights.seeded else None
        blocks = [decisive(part, SPEED, ENDING) for part in (block, *models, *trainings)]
        own = [digest for name in names for digest in self.own_files(name).values()]
        return digest_of([EXTRACT_FEATURES_VERSION, seed, self.config.backend, *blocks, *own])

    def own_files(self, model: str) -> dict[str, str]:
        """SHA-256 of the user's own files that a model is made of, whose changes are to be noticed: code and weights.

        A file that is not there is left out; the job that reads it names it.
        """
        block = self._get("models", model)
        code = (find_module(block.own_code),) if block.own_code else ()
        files = [path for path in (*code, *block.weights.own_files) if path.is_file()]
        return {path.as_posix(): sha256_file(path) for path in files}

    def own_files_behind(self, method: str) -> dict[str, str]:
        """SHA-256 of the user's own files that the networks behind a method are made of."""
        features = self._get("methods", method).all_features
        models = dict.fromkeys(model for name in features for model in self._models_behind(name))
        return {path: digest for model in models for path, digest in self.own_files(model).items()}

    def sources_behind(self, method: str, dataset: str) -> list[str]:
        """Names of all sources that the scores of a method on a dataset rest on."""
        block = self._get("methods", method)
        datasets = [*self.searched_datasets(dataset), *block.learned_from]
        names: list[str] = [s for d in datasets for s in self._get("datasets", d).sources]
        for feature in block.all_features:
            names += self._feature_sources(feature, datasets)
        return list(dict.fromkeys(names))

    def blocks_behind(self, method: str, dataset: str) -> dict[str, Any]:
        """The blocks of configuration that the scores of a method on a dataset rest on."""
        block = self._get("methods", method)
        datasets = [dataset, *self.searched_datasets(dataset), *block.learned_from]
        models = [m for f in block.all_features for m in self._models_behind(f)]
        datasets += [d for m in models for d in self.training_datasets(m)]
        weights = [self._get("models", m).weights for m in models]
        trainings = [w.trained_by for w in weights if w.trained_by]
        wanted = {
            "methods": [method],
            "features": block.all_features,
            "models": models,
            "training": trainings,
            "datasets": datasets,
        }
        return {
            section: {name: decisive(self._get(section, name), SPEED) for name in names}
            for section, names in wanted.items()
        }

    def _feature_sources(self, features: str, datasets: list[str]) -> list[str]:
        block = self._get("features", features)
        if block.extracted_by is None:
            return block.released_for(datasets)
        models = self._models_behind(features)
        learned = [self._get("datasets", d) for m in models for d in self.training_datasets(m)]
        shown = [self._get("datasets", d) for d in datasets]
        images = [source for dataset in (*shown, *learned) for source in dataset.image_sources]
        lists = [source for dataset in learned for source in dataset.sources]
        files = [source for m in models for source in self._get("models", m).weights.named_sources]
        return [*images, *lists, *files]

    def _models_behind(self, features: str) -> list[str]:
        """The model that features are extracted with, and those that its weights started from."""
        model = self._get("features", features).extracted_by
        return [] if model is None else self.ancestry(model)

    # --- blocks by name ---

    def methods_of(self, family: str) -> list[str]:
        """Methods of a family of evaluation."""
        return [name for name, method in self.config.methods.items() if method.family == family]

    def names(self, section: str, **answers: Any) -> list[str]:
        """Names in a section whose blocks have these values, such as ``names("features", kind="local")``."""
        blocks = getattr(self.config, section).items()
        return [name for name, block in blocks if all(getattr(block, key) == value for key, value in answers.items())]

    def _get(self, section: str, name: str) -> Any:
        block = getattr(self.config, section).get(name)
        if block is None:
            raise ConfigError(f"there is no {name!r} in section `{section}` of the configuration.")
        return block
