"""Validation in training: the stages of the search, run in a folder of its own (how.md section 5.5)."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from descbench.config.models import LocalFeatures
from descbench.config.networks import Model
from descbench.config.training import Validation
from descbench.datasets.manifest import read_manifest
from descbench.features.extract import extract_features
from descbench.metrics.score import score_ranking
from descbench.models.checkpoints import save_network
from descbench.retrieval.codebook import train_codebook
from descbench.retrieval.index import build_index
from descbench.retrieval.ranking import merge_rankings
from descbench.retrieval.search import search_index

_DIGEST = "validation"


@dataclass(frozen=True)
class ImageList:
    """A dataset on disk: its manifest, and the folder that the manifest's paths are relative to."""

    manifest: Path
    root: Path


@dataclass(frozen=True)
class Validator:
    """Scores a network on a dataset with a codebook learned anew from its own descriptors.

    Attributes:
        settings: block of the configuration.
        model: block of the network.
        training, validation: the two datasets.
        ground_truth: of the second.
        folder: intermediate files lie in a temporary folder below it.
        device, workers: as in :func:`descbench.features.extract.extract_features`.
    """

    settings: Validation
    model: Model
    training: ImageList
    validation: ImageList
    ground_truth: Path
    folder: Path
    device: str
    workers: int

    def __call__(self, network: nn.Module, epoch: int) -> float | None:
        """The deciding metric, or None in an epoch without validation."""
        if epoch % self.settings.every:
            return None
        with tempfile.TemporaryDirectory(prefix="validation-", dir=self.folder) as folder:
            return self._score(network, Path(folder))

    def _score(self, network: nn.Module, folder: Path) -> float:
        settings, checkpoint = self.settings, folder / "network.pt"
        save_network(network, self.model, checkpoint, {})
        images = min(settings.codebook_images, len(read_manifest(self.training.manifest).of_role("train")))
        taught = self._extract(checkpoint, self.training, "train", images, (1.0,), folder / "train.h5")
        database = self._extract(checkpoint, self.validation, "database", None, settings.scales, folder / "database.h5")
        queries = self._extract(checkpoint, self.validation, "query", None, settings.scales, folder / "query.h5")
        codebook, index, n = folder / "codebook.h5", folder / "index.h5", settings.n
        train_codebook([taught], codebook, n=n, images=None, size=settings.codebook_size)
        build_index(database, codebook, index, n=n, **settings.index.model_dump())
        part, ranking = folder / "part.h5", folder / "ranking.h5"
        search_index([queries], codebook, index, part, n=n, **settings.query.model_dump())
        num_queries = len(read_manifest(self.validation.manifest).of_role("query"))
        merge_rankings([part], ranking, top_k=settings.query.top_k, num_queries=num_queries)
        score_ranking(ranking, self.ground_truth, folder / "scores.json")
        return json.loads((folder / "scores.json").read_text(encoding="utf-8"))["metrics"][settings.metric]

    def _extract(
        self, checkpoint: Path, images: ImageList, role: str, stop: int | None, scales: tuple[float, ...], output: Path
    ) -> Path:
        features = LocalFeatures(
            kind="local",
            model=_DIGEST,
            image_size=self.settings.image_size,
            scales=scales,
            max_features=self.settings.n,
        )
        extract_features(
            images.manifest,
            role,
            0,
            stop,
            images.root,
            checkpoint,
            self.model,
            features,
            _DIGEST,
            output,
            device=self.device,
            workers=self.workers,
        )
        return output
