"""Stage train_checkpoint of networks of patches: from a start checkpoint to the last or the best epoch's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from descbench.config.base import ENDING, decisive
from descbench.config.networks import Model
from descbench.config.training import HardNetTraining
from descbench.datasets.patch_sets import Patches, read_patches
from descbench.device import pick_device
from descbench.errors import DataError
from descbench.io.digests import digest_of
from descbench.models.checkpoints import checkpoint_digest, load_network, save_network
from descbench.training import TRAIN_CHECKPOINT_VERSION
from descbench.training.distributed import is_main
from descbench.training.hardnet import HardNetRecipe
from descbench.training.loop import Trainer, write_history
from descbench.training.patch_validation import PatchValidator
from descbench.training.patches import Preparation, TrainingPatches


@dataclass(frozen=True)
class PatchTrainingFiles:
    """What training on patches reads and writes.

    Attributes:
        start: checkpoint it starts from.
        patches: parts of patch sets, in the order of the block.
        validation: parts that are scored; empty without validation.
        checkpoint, history: the two results.
        folder: state and TensorBoard events.
        parts: patch set and part that each of ``patches``, then of ``validation``, must hold; empty: any.
    """

    start: Path
    patches: tuple[Path, ...]
    validation: tuple[Path, ...]
    checkpoint: Path
    history: Path
    folder: Path
    parts: tuple[tuple[str, str], ...] = ()


def train_on_patches(
    files: PatchTrainingFiles, model: Model, settings: HardNetTraining, *, device: str = "auto"
) -> None:
    """Train a network of patches, or go on where a killed training stopped.

    Args:
        files: what is read and written.
        model: block of the network.
        settings: block of the training, whose own ``seed`` decides all that is drawn.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DataError: damaged patches, parts that do not fit the block, too few points for a batch, a loss that is not
            finite, a checkpoint of another architecture.
        SystemExit: SIGTERM came; the state lies in ``files.folder`` and the next call goes on.
    """
    chosen = pick_device(device)
    network = load_network(files.start, model).to(chosen)
    parts = dict(zip((*files.patches, *files.validation), files.parts, strict=False))
    learned = [read_patches(path, parts.get(path)) for path in files.patches]
    validated = [_with_pairs(read_patches(path, parts.get(path)), path) for path in files.validation]
    patches = TrainingPatches(learned)
    preparation = Preparation(network.side, network.mean, network.std, settings.augmentation)
    start, decided = checkpoint_digest(files.start), decisive(settings, ENDING)
    architecture = model.model_dump(mode="json", exclude={"weights"})
    inputs = [architecture, patches.digest, [part.digest for part in validated]]
    recipe = HardNetRecipe(network, patches, settings, chosen)
    trainer = Trainer(
        recipe,
        epochs=settings.epochs,
        folder=files.folder,
        digest=digest_of([TRAIN_CHECKPOINT_VERSION, inputs, start, decided]),
        validate=PatchValidator(validated, preparation, chosen) if validated else None,
        every=settings.validation.every if settings.validation else 1,
    )
    state = trainer.run()
    if not is_main():
        return
    epoch = state.epoch
    if settings.keep == "best":
        epoch = state.best.epoch
        network.load_state_dict(state.weights)
    save_network(network, model, files.checkpoint, {"start": start, "epoch": epoch, **decided})
    write_history(state.history, files.history)


def _with_pairs(part: Patches, path: Path) -> Patches:
    if not 0 < part.labels.matches.sum() < len(part.labels.matches):
        raise DataError(f"{path}: lists no test pairs of both kinds, which a validation needs; name another part.")
    return part
