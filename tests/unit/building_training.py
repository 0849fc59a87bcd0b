"""A training set small enough for tests: six buildings of four noisy views each, on disk."""

from __future__ import annotations

from scenes import draw_scenes

from descbench.config.networks import FireModel, HowModel
from descbench.config.training import FireTraining, HowTraining
from descbench.config.weights import RandomWeights, TrainedWeights
from descbench.datasets.ground_truth import GroundTruth, write_ground_truth
from descbench.datasets.manifest import Manifest, ManifestRow, rows_of, write_manifest
from descbench.datasets.pairs import TrainingPairs, write_pairs
from descbench.models.checkpoints import convert_checkpoint
from descbench.training.train import TrainingFiles
from descbench.training.validation import ImageList

MODEL = HowModel(
    architecture="how",
    backbone="resnet18",
    skip_layer=1,
    dim=8,
    weights=TrainedWeights(source="train", start="s", training="t"),
)
SETTINGS = HowTraining(
    recipe="how",
    dataset="building_training",
    image_size=48,
    epochs=3,
    learning_rate=1e-3,
    negatives=2,
    queries=6,
    pool=20,
    batch=2,
    workers=0,
)

FIRE = FireModel(
    architecture="fire", backbone="resnet18", templates=5, dim_lit=16, dim=8, iterations=2, weights=MODEL.weights
)
FIRE_SETTINGS = FireTraining(**{**SETTINGS.model_dump(), "recipe": "fire", "epochs": 2, "margin": 1.1})


def make_building_training(folder, model=MODEL) -> TrainingFiles:
    """Images, manifests, pairs, labels and a drawn start checkpoint below ``folder``."""
    rows, pairs = [], []
    for cluster, view, name in draw_scenes(folder / "images", 6, 4, noise=12, size=(64, 48)):
        rows.append(ManifestRow(len(rows), name, "train", cluster=cluster))
        if view:
            pairs.append((4 * cluster, 4 * cluster + view))
    write_manifest(Manifest(tuple(rows)), folder / "train.csv")
    write_pairs(TrainingPairs(*zip(*pairs, strict=True)), folder / "train.json")
    names = [row.path for row in rows]
    val = Manifest((*rows_of("query", names[::8]), *rows_of("database", names)))
    write_manifest(val, folder / "val.csv")
    labels = [{"ok": (i + 1, i + 2, i + 3), "junk": (i,)} for i in range(0, len(names), 8)]
    write_ground_truth(GroundTruth("classic", tuple(labels)), folder / "val.json")
    drawn = model.model_copy(update={"weights": RandomWeights(source="random")})
    convert_checkpoint(drawn, None, folder / "start.pt")
    return make_files(folder)


def make_files(folder) -> TrainingFiles:
    """The files of a training on buildings that is there."""
    return TrainingFiles(
        start=folder / "start.pt",
        images=ImageList(folder / "train.csv", folder / "images"),
        labels=folder / "train.json",
        validation=ImageList(folder / "val.csv", folder / "images"),
        ground_truth=folder / "val.json",
        checkpoint=folder / "trained.pt",
        history=folder / "history.csv",
        folder=folder / "work",
    )
