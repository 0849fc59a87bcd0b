"""Stage train_checkpoint: from a start checkpoint to the best epoch's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from descbench.config.base import ENDING, SPEED, decisive
from descbench.config.networks import Model
from descbench.config.training import Training
from descbench.datasets.manifest import Manifest
from descbench.datasets.pairs import read_pairs
from descbench.datasets.places import read_places
from descbench.device import pick_device
from descbench.io.digests import digest_of, sha256_file
from descbench.models.checkpoints import checkpoint_digest, load_network, save_network
from descbench.training import TRAIN_CHECKPOINT_VERSION
from descbench.training.distributed import is_main
from descbench.training.fire import FireRecipe
from descbench.training.images import TrainingImages, training_manifest
from descbench.training.loop import Recipe, Trainer, write_history
from descbench.training.mining import Pairs
from descbench.training.netvlad import NetVladRecipe, write_training_run
from descbench.training.tuples import TupleRecipe
from descbench.training.validation import AsmkValidator, ImageList, PlaceValidator, Validator


@dataclass(frozen=True)
class TrainingFiles:
    """What training reads and writes.

    Attributes:
        start: checkpoint it starts from.
        images, labels: training images, and the JSON of their pairs or places.
        validation, ground_truth: validation images and labels; None without validation.
        checkpoint, history: the two results.
        folder: state, TensorBoard events and intermediate files.
    """

    start: Path
    images: ImageList
    labels: Path
    validation: ImageList | None
    ground_truth: Path | None
    checkpoint: Path
    history: Path
    folder: Path


def train_checkpoint(files: TrainingFiles, model: Model, settings: Training, *, device: str = "auto") -> None:
    """Train a network, or go on where a killed training stopped.

    Args:
        files: what is read and written.
        model: block of the network.
        settings: block of the training.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DataError: missing images, damaged pairs, a loss that is not finite, a checkpoint of another
            architecture.
        SystemExit: SIGTERM came; the state lies in ``files.folder`` and the next call goes on.
    """
    recipe = build_recipe(files, model, settings, device=device)
    network = recipe.network
    start, decided = checkpoint_digest(files.start), decisive(settings, SPEED, ENDING)
    trainer = Trainer(
        recipe,
        epochs=settings.epochs,
        folder=files.folder,
        digest=digest_of([TRAIN_CHECKPOINT_VERSION, _inputs(files, network, model), start, decided]),
        validate=_validator(files, model, settings, device),
        every=settings.validation.every if settings.validation else 1,
        patience=settings.patience,
    )
    state = trainer.run()
    if not is_main():
        return
    _KINDS[settings.recipe].finish(files.folder, model, recipe, state, settings)
    network.load_state_dict(state.weights)
    save_network(network, model, files.checkpoint, {"start": start, "epoch": state.best.epoch, **decided})
    write_history(state.history, files.history)


def build_recipe(files: TrainingFiles, model: Model, settings: Training, *, device: str = "auto") -> Recipe:
    """The recipe of a training that is about to begin, with the start's weights: what the loop would run.

    Args:
        files, model, settings, device: as in :func:`train_checkpoint`; nothing is written but by planning.

    Raises:
        DataError: missing images, damaged pairs, a checkpoint of another architecture.
    """
    chosen = pick_device(device)
    # Channels last is what convolutions run fastest on, backwards too.
    network = load_network(files.start, model).to(chosen, memory_format=torch.channels_last)
    rows = _training_rows(files.images, settings)
    images = TrainingImages.of(rows, files.images.root, settings.image_size, network)
    return _KINDS[settings.recipe].build(network, images, rows, files, settings, chosen)


def _inputs(files: TrainingFiles, network: nn.Module, model: Model) -> list[Any]:
    """What a training is made from, apart from settings and weights: the network, images and labels by content."""
    lists = [files.images.manifest, files.labels]
    if files.validation is not None:
        lists += [files.validation.manifest, files.ground_truth]
    architecture = model.model_dump(mode="json", exclude={"weights"})
    colours = [[float(value) for value in values] for values in (network.mean, network.std)]
    return [architecture, colours, [sha256_file(path) for path in lists]]


def _tuples(recipe: type[TupleRecipe]) -> Callable[..., Recipe]:
    """Builds a recipe on mined tuples of the training images."""

    def build(
        network: nn.Module,
        images: TrainingImages,
        rows: Manifest,
        files: TrainingFiles,
        settings: Training,
        device: Any,
    ) -> Recipe:
        pairs = read_pairs(files.labels)
        clusters = np.array([row.cluster for row in rows.rows])
        mined = Pairs(clusters, np.array(pairs.queries), np.array(pairs.positives))
        return recipe(network, images, mined, settings, device)

    return build


def _places(
    network: nn.Module,
    images: TrainingImages,
    rows: Manifest,
    files: TrainingFiles,
    settings: Training,
    device: torch.device,
) -> Recipe:
    files.folder.mkdir(parents=True, exist_ok=True)
    return NetVladRecipe(network, images, read_places(files.labels), settings, device, files.folder)


def _asmk_validator(files: TrainingFiles, settings: Training, common: dict[str, Any]) -> Validator:
    return AsmkValidator(**common, settings=settings.validation, training=files.images)


def _place_validator(files: TrainingFiles, settings: Training, common: dict[str, Any]) -> Validator:
    return PlaceValidator(**common, image_size=settings.validation.image_size)


@dataclass(frozen=True)
class _Kind:
    """What trainings of a recipe have of their own.

    Attributes:
        roles: of the images that are trained on, in the order of their ids.
        build: gives the recipe.
        validator: gives the validation.
        finish: writes further results; folder, model, recipe, state and settings.
    """

    roles: tuple[str, ...]
    build: Callable[..., Recipe]
    validator: Callable[..., Validator]
    finish: Callable[..., None] = lambda *results: None


_KINDS: Mapping[str, _Kind] = {
    "how": _Kind(("train",), _tuples(TupleRecipe), _asmk_validator),
    "fire": _Kind(("train",), _tuples(FireRecipe), _asmk_validator),
    "netvlad": _Kind(("database", "query"), _places, _place_validator, write_training_run),
}


def _training_rows(images: ImageList, settings: Training) -> Manifest:
    """All training images; of places the database, then the queries."""
    roles = _KINDS[settings.recipe].roles
    return Manifest(tuple(row for role in roles for row in training_manifest(images.manifest, role, images.root).rows))


def _validator(files: TrainingFiles, model: Model, settings: Training, device: str) -> Validator | None:
    validation = settings.validation
    if validation is None:
        return None
    common = {
        "model": model,
        "metric": validation.metric,
        "images": files.validation,
        "ground_truth": files.ground_truth,
        "folder": files.folder,
        "device": device,
        "workers": settings.workers,
    }
    return _KINDS[settings.recipe].validator(files, settings, common)
