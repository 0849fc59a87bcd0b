"""Stage train_on_crops: from a start checkpoint to that of the best epoch, by pairs of crops of single images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from descbench.config.base import ENDING, SPEED, decisive
from descbench.config.crop_training import HNDescTraining
from descbench.config.networks import Model
from descbench.device import pick_device
from descbench.io.digests import digest_of, sha256_file
from descbench.models.checkpoints import checkpoint_digest, load_network, save_network
from descbench.training import TRAIN_ON_CROPS_VERSION
from descbench.training.crops import read_crop_images
from descbench.training.distributed import is_main
from descbench.training.hndesc import SAMPLINGS, CropValidator, HNDescRecipe
from descbench.training.loop import Trainer, write_history


@dataclass(frozen=True)
class CropTrainingFiles:
    """What training on crops reads and writes.

    Attributes:
        start: checkpoint it starts from.
        manifest, labels: images of the dataset, and what they come with.
        root: that paths of both are relative to.
        keypoints: shards of features of the training images; empty: the dataset's own keypoints.
        validation_keypoints: the same of the validation images.
        checkpoint, history: the two results.
        folder: state and TensorBoard events.
    """

    start: Path
    manifest: Path
    labels: Path
    root: Path
    keypoints: tuple[Path, ...]
    validation_keypoints: tuple[Path, ...]
    checkpoint: Path
    history: Path
    folder: Path


def train_on_crops(files: CropTrainingFiles, model: Model, settings: HNDescTraining, *, device: str = "auto") -> None:
    """Train a network that describes points, or go on where a killed training stopped.

    Args:
        files: what is read and written.
        model: block of the network.
        settings: block of the training, whose own ``seed`` decides all that is drawn.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DataError: missing images, damaged keypoints, too few images for a batch, a loss that is not finite, a
            checkpoint of another architecture.
        SystemExit: SIGTERM came; the state lies in ``files.folder`` and the next call goes on.
    """
    chosen = pick_device(device)
    network, sample = load_network(files.start, model).to(chosen), SAMPLINGS[model.backbone]
    place = (files.manifest, files.labels, files.root)
    colours = (tuple(network.mean), tuple(network.std))
    images = read_crop_images(*place, files.keypoints, colours, settings)
    validator, keypoints = None, images.keypoint_contents()
    if settings.validation is not None:
        shown = read_crop_images(*place, files.validation_keypoints, colours, settings, "val")
        validator, keypoints = CropValidator(sample, shown, settings, chosen), keypoints + shown.keypoint_contents()
    start, decided = checkpoint_digest(files.start), decisive(settings, SPEED, ENDING)
    architecture = model.model_dump(mode="json", exclude={"weights"})
    read = (files.manifest, files.labels, *files.keypoints, *files.validation_keypoints)
    inputs = [architecture, [list(values) for values in colours], [sha256_file(path) for path in read], keypoints]
    trainer = Trainer(
        HNDescRecipe(network, sample, images, settings, chosen),
        epochs=settings.epochs,
        folder=files.folder,
        digest=digest_of([TRAIN_ON_CROPS_VERSION, inputs, start, decided]),
        validate=validator,
        every=settings.validation.every if settings.validation else 1,
        patience=settings.patience,
    )
    state = trainer.run()
    if not is_main():
        return
    network.load_state_dict(state.weights)
    save_network(network, model, files.checkpoint, {"start": start, "epoch": state.best.epoch, **decided})
    write_history(state.history, files.history)
