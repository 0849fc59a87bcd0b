"""Stage train_checkpoint: from a start checkpoint to the best epoch's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from descbench.config.networks import Model
from descbench.config.training import Training
from descbench.datasets.manifest import Manifest
from descbench.datasets.pairs import TrainingPairs, read_pairs
from descbench.device import pick_device
from descbench.io.digests import digest_of
from descbench.models.checkpoints import checkpoint_digest, load_network, save_network
from descbench.training import TRAIN_CHECKPOINT_VERSION
from descbench.training.distributed import leads
from descbench.training.fire import FireRecipe
from descbench.training.images import TrainingImages, training_manifest
from descbench.training.loop import Trainer, write_history
from descbench.training.mining import Pairs
from descbench.training.random_state import seed_everything
from descbench.training.tuples import TupleRecipe
from descbench.training.validation import ImageList, Validator

RECIPES = {"how": TupleRecipe, "fire": FireRecipe}


@dataclass(frozen=True)
class TrainingFiles:
    """What training reads and writes.

    Attributes:
        start: checkpoint it starts from.
        images, pairs: training images, and the JSON of their pairs.
        validation, ground_truth: validation images and labels; None without validation.
        checkpoint, history: the two results.
        folder: state, TensorBoard events and intermediate files.
    """

    start: Path
    images: ImageList
    pairs: Path
    validation: ImageList | None
    ground_truth: Path | None
    checkpoint: Path
    history: Path
    folder: Path


def train_checkpoint(
    files: TrainingFiles, model: Model, settings: Training, *, seed: int = 0, device: str = "auto"
) -> None:
    """Train a network, or go on where a killed training stopped.

    Args:
        files: what is read and written.
        model: block of the network.
        settings: block of the training.
        seed: of what is drawn before the first epoch; each epoch is seeded by its number.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DataError: missing images, damaged pairs, a loss that is not finite, a checkpoint of another
            architecture.
        SystemExit: SIGTERM came; the state lies in ``files.folder`` and the next call goes on.
    """
    seed_everything(seed)
    manifest = training_manifest(files.images.manifest, "train", files.images.root)
    pairs = read_pairs(files.pairs)
    chosen = pick_device(device)
    # Channels last is what convolutions run fastest on, backwards too.
    network = load_network(files.start, model).to(chosen, memory_format=torch.channels_last)
    images = TrainingImages(
        tuple(files.images.root / row.path for row in manifest.rows),
        settings.image_size,
        tuple(network.mean),
        tuple(network.std),
    )
    recipe = RECIPES[settings.recipe](network, images, _mining_pairs(manifest, pairs), settings, chosen)
    start = checkpoint_digest(files.start)
    decisive = settings.model_dump(mode="json", exclude={"epochs", "patience", "workers"})
    trainer = Trainer(
        recipe,
        epochs=settings.epochs,
        folder=files.folder,
        digest=digest_of([TRAIN_CHECKPOINT_VERSION, start, manifest.digest(), decisive, seed]),
        validate=_validator(files, model, settings, device),
        patience=settings.patience,
    )
    state = trainer.run()
    if not leads():
        return
    network.load_state_dict(state.weights)
    save_network(network, model, files.checkpoint, {"start": start, "epoch": state.best.epoch, **decisive})
    write_history(state.history, files.history)


def _mining_pairs(manifest: Manifest, pairs: TrainingPairs) -> Pairs:
    clusters = [row.cluster for row in manifest.rows]
    return Pairs(np.array(clusters), np.array(pairs.queries), np.array(pairs.positives))


def _validator(files: TrainingFiles, model: Model, settings: Training, device: str) -> Validator | None:
    if settings.validation is None:
        return None
    places = (files.images, files.validation, files.ground_truth, files.folder)
    return Validator(settings.validation, model, *places, device=device, workers=settings.workers)
