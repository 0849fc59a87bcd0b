"""What rests on what: the blocks of configuration, datasets and sources behind a result, without any path.

Methods named ``digest_...`` read the user's own code and weights; the others know the configuration alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from descbench.config.base import CHECK, ENDING, NOTE, SCORING, SPEED, decisive
from descbench.config.models import Config
from descbench.config.sources import Source
from descbench.config.training import Training
from descbench.custom_modules import module_files
from descbench.features import (
    DESCRIBE_PATCHES_VERSION,
    EXTRACT_FEATURES_VERSION,
    IMPORT_DESCRIPTORS_VERSION,
    IMPORT_FEATURES_VERSION,
)
from descbench.io.digests import digest_of, sha256_file
from descbench.io.own_copies import digest_copy
from descbench.licences import forbids_commerce
from descbench.localization import MATCH_IMAGES_VERSION
from descbench.matching import MATCH_FEATURES_VERSION, MATCH_SHORTLIST_VERSION
from descbench.metrics import COUNT_MATCHES_VERSION


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
        own = (self.config.block("methods", name).top_k for name in self.methods_behind(method))
        return next((top_k for top_k in own if top_k is not None), None) or self.base_block(dataset).ranked()

    # --- models ---

    def ancestry(self, model: str) -> list[str]:
        """The model, the one its weights start from, and so on to published or random weights."""
        start = self.config.block("models", model).weights.starts_from
        return [model, *(self.ancestry(start) if start else [])]

    def training_block(self, model: str) -> Training:
        """How a model is trained."""
        return self.config.block("training", self.config.block("models", model).weights.training)

    def learned_from(self, model: str) -> list[tuple[str, str]]:
        """Section and name of what a model's weights were made from here, by a whitening, clusters or training."""
        weights = self.config.block("models", model).weights
        found = [("datasets", name) for name in weights.learned_from]
        if weights.trained_by:
            training = self.config.block("training", weights.trained_by)
            found += [("datasets", name) for name in training.datasets]
            found += [("patch_sets", name) for name, _ in training.patch_parts]
        return found

    def _features_learned_from(self, model: str) -> tuple[str, ...]:
        """Names of the features whose keypoints a model was trained with."""
        training = self.config.block("models", model).weights.trained_by
        return self.config.block("training", training).learned_features if training else ()

    def models_from(self, *sources: str) -> list[str]:
        """Names of the models whose weights have one of these values of ``source``."""
        return [name for name, model in self.config.models.items() if model.weights.source in sources]

    def models_trained_by(self, stage: str) -> list[str]:
        """Names of the models that are trained by that stage."""
        trainings = {name: self.training_block(name) for name in self.models_from("train")}
        return [name for name, training in trainings.items() if training.stage == stage]

    # --- results ---

    def methods_behind(self, method: str) -> list[str]:
        """The method, the one whose ranking it starts from, and so on to a search."""
        base = self.config.block("methods", method).based_on
        return [method, *(self.methods_behind(base) if base else [])]

    def features_behind(self, method: str) -> list[str]:
        """Names of all features that a method and those it starts from use."""
        blocks = (self.config.block("methods", name) for name in self.methods_behind(method))
        return list(dict.fromkeys(name for block in blocks for name in block.all_features))

    def models_behind(self, method: str) -> list[str]:
        """The models that describe images or patches for a method, and those that their weights started from."""
        blocks = [self.config.block("methods", name) for name in self.methods_behind(method)]
        described_by = [model for block in blocks for model in block.described_by(self.config)]
        return self._with_teachers([model for name in described_by for model in self.ancestry(name)])

    def restricted_behind(self, cells: Iterable[tuple[str, str]]) -> dict[str, dict[str, str]]:
        """Of each method of ``(method, dataset)`` with such, weights whose licence forbids commercial use, and it."""
        found = {method: self._restricted(method) for method in dict.fromkeys(method for method, _ in cells)}
        return {method: weights for method, weights in found.items() if weights}

    def _restricted(self, method: str) -> dict[str, str]:
        weights = {name: self.config.block("models", name).weights for name in self.models_behind(method)}
        sources = dict.fromkeys(name for block in weights.values() for name in block.named_sources)
        stated = {name: self.config.block("sources", name).licence for name in sources}
        stated |= {name: block.own_licence for name, block in weights.items()}
        return {name: licence for name, licence in stated.items() if licence and forbids_commerce(licence)}

    def learns_from(self, method: str, dataset: str) -> bool:
        """Whether words, whitening, clusters or a training behind a method were made of that dataset."""
        section = self.config.block("methods", method).SCORED_ON
        searched = self.searched_datasets(dataset) if section == "datasets" else [dataset]
        of_methods = (self.config.block("methods", name).learned_from for name in self.methods_behind(method))
        of_models = (self.learned_from(name) for name in self.models_behind(method))
        learned = {found for part in (*of_methods, *of_models) for found in part}
        return any((section, name) in learned for name in searched)

    def _with_teachers(self, models: list[str]) -> list[str]:
        """Models, each once, with those whose features they learned from, and what these started from."""
        found = list(dict.fromkeys(models))
        for model in found:  # grows meanwhile
            features = [self.config.block("features", name) for name in self._features_learned_from(model)]
            taught = [name for block in features for network in block.networks for name in self.ancestry(network)]
            found += [name for name in dict.fromkeys(taught) if name not in found]
        return found

    def seed_of(self, model: str) -> int:
        """The seed of the site where it decides what a model adds to the weights that it starts from; else 0."""
        return self.config.seed if self.config.block("models", model).weights.seeded else 0

    def data_behind(self, method: str, dataset: str) -> list[tuple[str, str]]:
        """Section and name of all datasets and patch sets that a method is scored on there, and learns from itself."""
        block = self.config.block("methods", method)
        scored = self.config.block(block.SCORED_ON, dataset).searched_as(dataset)
        learned = [p for name in self.methods_behind(method) for p in self.config.block("methods", name).learned_from]
        return [(block.SCORED_ON, dataset), *((block.SCORED_ON, name) for name in scored), *learned]

    def sources_behind(self, method: str, dataset: str) -> list[str]:
        """Names of all sources that the scores of a method on a dataset rest on."""
        features = [self.config.block("features", name) for name in self.features_behind(method)]
        models, data = self.models_behind(method), self.data_behind(method, dataset)
        learned = [self.config.block(*place) for model in models for place in self.learned_from(model)]
        shown = [self.config.block(*place) for place in data]
        names = [source for block in (*shown, *learned) for source in block.sources]
        if models or any(block.READS_IMAGES for block in features):
            names += [source for block in (*shown, *learned) for source in block.image_sources]
        names += [source for block in features for source in block.released_for([name for _, name in data])]
        ranked = [self.config.block("methods", name) for name in self.methods_behind(method)]
        names += [source for block in ranked for source in block.released_for([name for _, name in data])]
        names += [source for model in models for source in self.config.block("models", model).weights.named_sources]
        return list(dict.fromkeys(names))

    def blocks_behind(self, method: str, dataset: str) -> dict[str, Any]:
        """The blocks of configuration that the scores of a method on a dataset rest on, by section and name."""
        models = self.models_behind(method)
        weights = [self.config.block("models", model).weights for model in models]
        wanted = [("methods", name) for name in self.methods_behind(method)]
        wanted += [("features", name) for name in self.features_behind(method)]
        wanted += [("features", name) for model in models for name in self._features_learned_from(model)]
        wanted += [("models", model) for model in models]
        wanted += [("training", w.trained_by) for w in weights if w.trained_by]
        wanted += self.data_behind(method, dataset)
        wanted += [place for model in models for place in self.learned_from(model)]
        found: dict[str, Any] = {section: {} for section in ("methods", "features", "models", "training", "datasets")}
        for section, name in wanted:
            found.setdefault(section, {})[name] = decisive(self.config.block(section, name), SPEED, NOTE)
        return found

    def names_behind(self, method: str, dataset: str) -> dict[str, list[str]]:
        """Names of all that the scores of a method on a dataset rest on, by section.

        ``scored`` are the datasets and patch sets that the method itself reads, ``datasets`` those of its networks
        too, and ``files`` what the sources are downloaded as.
        """
        models, data = self.models_behind(method), self.data_behind(method, dataset)
        learned = [place for model in models for place in self.learned_from(model)]
        scored = [name for _, name in data] + [self.base_dataset(name) for part, name in data if part == "datasets"]
        features = self.features_behind(method) + [n for model in models for n in self._features_learned_from(model)]
        sources = self.sources_behind(method, dataset)
        found = {
            "methods": self.methods_behind(method),
            "features": features,
            "models": models,
            "scored": scored,
            "datasets": [*scored, *(name for _, name in learned)],
            "sources": sources,
            "files": [file for name in sources for file in self.source_files(name)],
        }
        return {section: list(dict.fromkeys(names)) for section, names in found.items()}

    # --- digests ---

    def digest_features(self, name: str) -> str:
        """Digest of all that decides the content of a features block: configuration, and the user's own files.

        When a training ends is left out: the shards name the weights themselves, and training again makes
        the checkpoint a newer one.
        """
        block = self.config.block("features", name)
        if not block.READS_IMAGES:
            return digest_of([IMPORT_FEATURES_VERSION, block.model_dump(mode="json")])
        if not block.networks:
            return digest_of([EXTRACT_FEATURES_VERSION, decisive(block, SPEED)])
        made_by = [self._made_by(model, block) for model in block.networks]
        parts = [part for seed, blocks, own in made_by for part in (seed, self.config.backend, *blocks, *own)]
        return digest_of([EXTRACT_FEATURES_VERSION, *parts])

    def digest_descriptors(self, method: str) -> str:
        """Digest of all that decides the descriptors that a method is scored by: of its features, or of patches."""
        block = self.config.block("methods", method)
        if block.all_features:
            return self.digest_features(block.all_features[0])
        if block.own_folders:
            return digest_of(
                [IMPORT_DESCRIPTORS_VERSION, decisive(block, SPEED, SCORING), self.digest_own_folders(method)]
            )
        models = block.described_by(self.config)
        made_by = self._made_by(models[0], block) if models else [decisive(block, SPEED, SCORING)]
        return digest_of([DESCRIBE_PATCHES_VERSION, *made_by])

    def digest_matching(self, method: str) -> str:
        """Digest of how features are matched, and not of what the matches are scored by."""
        return digest_of([MATCH_FEATURES_VERSION, decisive(self.config.block("methods", method), SPEED, SCORING)])

    def digest_counts(self, name: str) -> str:
        """Digest of all that decides what is counted again: images, networks, and how many keypoints they keep."""
        block = self.config.block("remeasured", name)
        images = decisive(self.config.block("datasets", block.dataset), SPEED, NOTE, CHECK)
        networks = [self._made_by(model, self.config.block("models", model)) for model in block.counts]
        counted = [block.sequence, block.max_features, block.images, images]
        return digest_of([COUNT_MATCHES_VERSION, self.config.backend, counted, *networks])

    def digest_map_matching(self, method: str) -> str:
        """Digest of how a method that localises matches images."""
        block = self.config.block("methods", method)
        return digest_of([MATCH_IMAGES_VERSION, decisive(block.match, SPEED, SCORING)])

    def digest_shortlist(self, method: str) -> str:
        """Digest of how a method matches the first images of a ranking, and of their features."""
        block = self.config.block("methods", method)
        settings = [block.first, decisive(block.match, SPEED, SCORING), block.threshold]
        return digest_of([MATCH_SHORTLIST_VERSION, self.digest_features(block.features), *settings])

    def _made_by(self, model: str, block: Any) -> tuple[int | None, list[dict[str, Any]], list[str]]:
        """Seed of what a network makes for a block, the blocks behind it, and digests of the user's own files."""
        names = self.ancestry(model)
        models = [self.config.block("models", name) for name in names]
        trainings = [self.config.block("training", m.weights.trained_by) for m in models if m.weights.trained_by]
        seed = self.config.seed if any(m.weights.seeded for m in models) else None
        blocks = [decisive(part, SPEED, ENDING, SCORING, NOTE) for part in (block, *models, *trainings)]
        own = [digest for name in names for digest in self.digest_own_files(name).values()]
        return seed, blocks, own

    def digest_own_files(self, model: str) -> dict[str, str]:
        """SHA-256 of the user's own files that a model is made of, whose changes are to be noticed: code and weights.

        A file that is not there is left out; the job that reads it names it.
        """
        block = self.config.block("models", model)
        code = module_files(block.own_code) if block.own_code else ()
        files = [path for path in (*code, *block.weights.own_files) if path.is_file()]
        return {path.as_posix(): sha256_file(path) for path in files}

    def digest_own_folders(self, method: str) -> dict[str, str]:
        """Digests of the user's own folders of descriptors, by names, sizes and times of their files."""
        return {path.as_posix(): digest_copy(path) for path in self.config.block("methods", method).own_folders}

    def digest_own_files_behind(self, method: str) -> dict[str, str]:
        """SHA-256 of the user's own files that the networks behind a method are made of, and digests of its folders."""
        models = self.models_behind(method)
        files = {path: digest for model in models for path, digest in self.digest_own_files(model).items()}
        return files | self.digest_own_folders(method)
