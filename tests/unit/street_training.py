"""Places small enough for tests: eight of three noisy views each, a query for each, on disk."""

from __future__ import annotations

from scenes import draw_scenes

from descbench.config.networks import NetVladModel
from descbench.config.training import NetVladTraining
from descbench.config.weights import RandomWeights, TrainedWeights
from descbench.datasets.manifest import Manifest, ManifestRow, write_manifest
from descbench.datasets.places import PlaceLabels, write_places
from descbench.models.checkpoints import convert_checkpoint
from descbench.training.train import TrainingFiles
from descbench.training.validation import ImageList

MODEL = NetVladModel(
    architecture="netvlad",
    backbone="alexnet",
    clusters=3,
    weights=TrainedWeights(source="train", start="s", training="t"),
)
SETTINGS = NetVladTraining(
    recipe="netvlad",
    dataset="street_training",
    image_size=64,
    epochs=2,
    learning_rate=1e-2,
    negatives=2,
    pool=400,
    batch=2,
    refresh=4,
    workers=0,
)
PLACES, VIEWS = 8, 3


def make_street_training(folder) -> TrainingFiles:
    """Images, manifest, labels and a drawn start checkpoint below ``folder``; the last query has no positive."""
    database, queries = [], []
    for place, view, name in draw_scenes(folder / "images", PLACES, VIEWS + 1, noise=40, size=(80, 64)):
        role, rows = ("query", queries) if view == VIEWS else ("database", database)
        rows.append(ManifestRow(len(rows), name, role, easting=50.0 * place, northing=float(view)))
    write_manifest(Manifest((*queries, *database)), folder / "places.csv")
    right = [tuple(range(VIEWS * place, VIEWS * (place + 1))) for place in range(PLACES)]
    write_places(PlaceLabels(25.0, tuple(right), (*right[:-1], ())), folder / "places.json")
    drawn = MODEL.model_copy(update={"weights": RandomWeights(source="random")})
    convert_checkpoint(drawn, None, folder / "start.pt")
    images = ImageList(folder / "places.csv", folder / "images")
    return TrainingFiles(
        start=folder / "start.pt",
        images=images,
        labels=folder / "places.json",
        validation=images,
        ground_truth=folder / "places.json",
        checkpoint=folder / "trained.pt",
        history=folder / "history.csv",
        folder=folder / "work",
    )
