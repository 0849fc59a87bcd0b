"""Validation in training: the stages of the search, run in a folder of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from descbench.config.datasets import PLACES_RANKED
from descbench.config.features import Features, GlobalFeatures, LocalFeatures
from descbench.config.method_base import Codebook
from descbench.config.methods import AsmkMethod, FlatMethod, Method
from descbench.config.networks import Model
from descbench.config.training import Validation
from descbench.datasets.manifest import read_manifest
from descbench.errors import DataError
from descbench.features.extract import extract_features
from descbench.features.extractor import Network
from descbench.features.shards import ShardSpec
from descbench.io.atomic import work_folder
from descbench.metrics.score import score_ranking
from descbench.metrics.scores import read_scores
from descbench.models.checkpoints import save_network
from descbench.retrieval.codebook import train_codebook
from descbench.retrieval.run_search import run_search
from descbench.training.loop import Score

# Stands where a digest or the name of a model is wanted: nothing outlives a validation that could be mixed up.
_NO_NAME = "validation"


@dataclass(frozen=True)
class ImageList:
    """A dataset on disk: its manifest, and the folder that the manifest's paths are relative to."""

    manifest: Path
    root: Path


@dataclass(frozen=True)
class Validator(ABC):
    """Scores a network on a dataset, by the stages of the workflow.

    Attributes:
        model: block of the network.
        metric: key of the scores that is given back.
        images: the dataset.
        ground_truth: its labels.
        folder: intermediate files lie in a temporary folder below it.
        device, workers: as in :func:`descbench.features.extract.extract_features`.
    """

    model: Model
    metric: str
    images: ImageList
    ground_truth: Path
    folder: Path
    device: str
    workers: int

    def __call__(self, network: nn.Module) -> Score:
        """The deciding metric.

        Raises:
            DataError: the scores have no such metric, or no query counts in it.
        """
        with work_folder(self.folder / "validation") as folder:
            save_network(network, self.model, folder / "network.pt", {})
            self.rank(folder / "network.pt", folder, folder / "ranking.h5")
            score_ranking(folder / "ranking.h5", self.ground_truth, folder / "scores.json")
            metrics = read_scores(folder / "scores.json").metrics
        if self.metric not in metrics:
            raise DataError(
                f"{self.ground_truth}: too few images to validate with {self.metric}; there are "
                f"{', '.join(sorted(metrics))}."
            )
        metric = metrics[self.metric]
        if metric.value is None:
            raise DataError(
                f"{self.ground_truth}: no query counts in {self.metric}; validate on another dataset or metric."
            )
        return Score(metric.value, metric.direction)

    @abstractmethod
    def rank(self, checkpoint: Path, folder: Path, ranking: Path) -> None:
        """Write the ranking of the dataset's queries; ``folder`` is for what it takes."""

    def extract(
        self, checkpoint: Path, features: Features, images: ImageList, role: str, output: Path, stop: int | None = None
    ) -> Path:
        """Features of the (first) images of a role; returns ``output``."""
        shard = ShardSpec.read(images.manifest, role, 0, stop, features=_NO_NAME)
        machine = {"device": self.device, "workers": self.workers}
        extract_features(shard, images.root, {_NO_NAME: Network(checkpoint, self.model)}, features, output, **machine)
        return output

    def search(
        self, method: Method, queries: Path, database: Path, folder: Path, ranking: Path, codebook: Path | None = None
    ) -> None:
        """The whole search of one shard of features, by a method."""
        num_queries = len(read_manifest(self.images.manifest).of_role("query"))
        run_search(method, [queries], [database], folder, ranking, codebook=codebook, num_queries=num_queries)


@dataclass(frozen=True)
class AsmkValidator(Validator):
    """ASMK search with a codebook learned anew from the network's own descriptors.

    Attributes:
        settings: block of the configuration.
        training: images that the codebook is learned from.
    """

    settings: Validation
    training: ImageList

    def rank(self, checkpoint: Path, folder: Path, ranking: Path) -> None:
        """The whole search, in one shard."""
        settings, n = self.settings, self.settings.n
        images = min(settings.codebook_images, len(read_manifest(self.training.manifest).of_role("train")))
        single, pyramid = self._features((1.0,)), self._features(settings.scales)
        taught = self.extract(checkpoint, single, self.training, "train", folder / "train.h5", images)
        database = self.extract(checkpoint, pyramid, self.images, "database", folder / "database.h5")
        queries = self.extract(checkpoint, pyramid, self.images, "query", folder / "query.h5")
        codebook = folder / "codebook.h5"
        train_codebook([taught], codebook, n=n, images=None, size=settings.codebook_size)
        words = Codebook(features=_NO_NAME, dataset=_NO_NAME, size=settings.codebook_size)
        block = {"features": _NO_NAME, "codebook": words, "index": settings.index, "query": settings.query}
        method = AsmkMethod(search="asmk", n=n, **block)
        self.search(method, queries, database, folder, ranking, codebook)

    def _features(self, scales: tuple[float, ...]) -> LocalFeatures:
        size, n = self.settings.image_size, self.settings.n
        return LocalFeatures(kind="local", model=_NO_NAME, image_size=size, scales=scales, max_features=n)


@dataclass(frozen=True)
class PlaceValidator(Validator):
    """Exact search of global descriptors (docs/protocols/netvlad.md, Validation).

    Attributes:
        image_size: longer side in pixels.
    """

    image_size: int

    def rank(self, checkpoint: Path, folder: Path, ranking: Path) -> None:
        """Extraction and search, in one shard."""
        features = GlobalFeatures(kind="global", model=_NO_NAME, image_size=self.image_size)
        database, queries = (
            self.extract(checkpoint, features, self.images, role, folder / f"{role}.h5")
            for role in ("database", "query")
        )
        method = FlatMethod(search="euclidean", features=_NO_NAME, top_k=PLACES_RANKED)
        self.search(method, queries, database, folder, ranking)
