"""Training: resume to the bit, the best epoch, and what it refuses."""

import csv
import logging
import math
import re
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from building_training import FIRE, FIRE_SETTINGS, MODEL, SETTINGS, make_building_training, make_files

from descbench.config.search import QuerySettings
from descbench.config.training import Validation
from descbench.config.weights import RandomWeights, WhitenedWeights
from descbench.datasets.ground_truth import GroundTruth, write_ground_truth
from descbench.datasets.manifest import Manifest, read_manifest, rows_of, write_manifest
from descbench.datasets.pairs import TrainingPairs, read_pairs, write_pairs
from descbench.errors import DataError
from descbench.models.checkpoints import checkpoint_digest, convert_checkpoint, load_network
from descbench.training.images import TrainingImages, training_manifest
from descbench.training.loop import Best, Score
from descbench.training.mining import Pairs, mine_tuples
from descbench.training.train import train_checkpoint
from descbench.training.tuples import TupleRecipe
from descbench.training.whitening import whiten_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")
HERE = Path(__file__).parent
STEPS = SETTINGS.queries // SETTINGS.batch


def weights(files):
    return load_network(files.checkpoint, MODEL).state_dict()


def same(one, other):
    return all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.fixture
def building_training(tmp_path):
    return make_building_training(tmp_path / "building_training")


@pytest.fixture(scope="module")
def through(tmp_path_factory):
    """A training that ran through."""
    files = make_building_training(tmp_path_factory.mktemp("through") / "building_training")
    train_checkpoint(files, MODEL, SETTINGS, device="cpu")
    return files


def test_training_changes_what_it_should(through):
    start, trained = load_network(through.start, MODEL).state_dict(), weights(through)
    assert torch.equal(start["dim_reduction.weight"], trained["dim_reduction.weight"])
    assert torch.equal(start["features.1.running_mean"], trained["features.1.running_mean"])
    assert not torch.equal(start["features.0.weight"], trained["features.0.weight"])
    assert not torch.equal(start["features.1.weight"], trained["features.1.weight"])


def test_history(through):
    with open(through.history, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert float(rows[1]["learning_rate"]) == pytest.approx(1e-3 * 0.99)
    losses = [float(row["train_loss"]) for row in rows]
    assert [int(row["best"]) for row in rows] == [int(x == min(losses[: i + 1])) for i, x in enumerate(losses)]
    assert list(through.folder.glob("events/events*"))


@pytest.mark.parametrize(
    ("name", "code"), [("SIGKILL", -signal.SIGKILL), ("SIGTERM", 128 + signal.SIGTERM), ("SIGINT", 128 + signal.SIGINT)]
)
def test_a_killed_training_goes_on_to_the_same_bits(through, tmp_path, name, code):
    folder = tmp_path / "building_training"
    command = [sys.executable, str(HERE / "killed_training.py"), str(folder), name, str(STEPS + 2)]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == code, killed.stderr
    files = replace(through, checkpoint=tmp_path / "trained.pt", history=tmp_path / "h.csv", folder=folder / "work")
    assert not (folder / "trained.pt").exists()
    state = torch.load(files.folder / "state.pt", weights_only=True)["state"]
    # SIGKILL leaves the last whole epoch; the others the step that was under way, finished.
    assert (state["epoch"], state["step"]) == (1, 0 if name == "SIGKILL" else 2)
    assert "Traceback" not in killed.stderr
    train_checkpoint(files, MODEL, SETTINGS, device="cpu")
    assert same(weights(files), weights(through))
    assert files.history.read_text() == through.history.read_text()


def test_the_log_of_an_epoch_is_a_sentence(building_training, caplog):
    with caplog.at_level(logging.INFO):
        train_checkpoint(building_training, MODEL, SETTINGS.model_copy(update={"epochs": 1}), device="cpu")
    with open(building_training.history, newline="") as stream:
        (row,) = csv.DictReader(stream)
    (line,) = [message for message in caplog.messages if message.startswith("epoch 1 of 1: ")]
    assert f"training loss {float(row['train_loss']):.4f} (the best so far), learning rate 0.001" in line
    assert re.search(r"mean negative distance [0-9.]+, \d+ s$", line)


def test_a_state_of_other_settings_is_not_resumed(through, tmp_path):
    files = replace(through, checkpoint=tmp_path / "trained.pt", history=tmp_path / "h.csv")
    other = SETTINGS.model_copy(update={"margin": 0.5, "epochs": 1})
    state = (through.folder / "state.pt").read_bytes()
    train_checkpoint(files, MODEL, other, device="cpu")
    (through.folder / "state.pt").write_bytes(state)
    assert len(files.history.read_text().splitlines()) == 2


def test_more_epochs_go_on_from_the_state(through, tmp_path, monkeypatch):
    planned = []
    plan = TupleRecipe.plan
    monkeypatch.setattr(TupleRecipe, "plan", lambda self, *which: planned.append(which) or plan(self, *which))
    files = replace(through, checkpoint=tmp_path / "trained.pt", history=tmp_path / "h.csv")
    train_checkpoint(files, MODEL, SETTINGS.model_copy(update={"epochs": 4}), device="cpu")
    assert planned == [(4, 0)]


BRIEF = {"image_size": 32, "epochs": 3, "negatives": 1, "queries": 2, "pool": 12, "patience": 3}
VALIDATION = Validation(dataset="val", every=1)
PATIENT = SETTINGS.model_copy(update={**BRIEF, "validation": VALIDATION})


def other_pairs(files, model, settings):
    write_pairs(TrainingPairs((0, 4, 8), (1, 6, 10)), files.labels)


def other_clusters(files, model, settings):
    manifest = read_manifest(files.images.manifest)
    last = replace(manifest.rows[-1], cluster=99)
    write_manifest(Manifest((*manifest.rows[:-1], last)), files.images.manifest)


def other_truth(files, model, settings):
    write_ground_truth(GroundTruth("classic", ({"ok": (2,), "junk": ()},) * 3), files.ground_truth)


def other_validation_images(files, model, settings):
    names = [row.path for row in read_manifest(files.validation.manifest).of_role("database").rows]
    rows = (*rows_of("query", names[1:4]), *rows_of("database", names))
    write_manifest(Manifest(rows), files.validation.manifest)


def other_start(files, model, settings):
    drawn = model.model_copy(update={"weights": RandomWeights(source="random", seed=5)})
    convert_checkpoint(drawn, None, files.start)


def other_network(files, model, settings):
    """The same weights, averaged over another window."""
    model = model.model_copy(update={"smoothing": 0})
    convert_checkpoint(model.model_copy(update={"weights": RandomWeights(source="random")}), None, files.start)
    return model, settings


def settings_of(**changes):
    return lambda files, model, settings: (model, settings.model_copy(update=changes))


def validated(**changes):
    return settings_of(validation=VALIDATION.model_copy(update=changes))


ANEW = [(1, 0)]
PLAN = TupleRecipe.plan
# What is changed after a training, and what is planned when it runs again. Scores fall from epoch to epoch.
RESUMED = {
    "nothing": (lambda *_: None, []),
    "workers": (settings_of(workers=1), []),
    "more epochs": (settings_of(epochs=4), [(4, 0)]),
    "less epochs": (settings_of(epochs=2), ANEW),
    "more patience": (settings_of(patience=9), []),
    "less patience": (settings_of(patience=1), ANEW),
    "another cadence": (validated(every=2), ANEW),
    "no validation": (settings_of(validation=None), ANEW),
    "another size in validation": (validated(image_size=48), ANEW),
    "another margin": (settings_of(margin=0.5), ANEW),
    "pairs": (other_pairs, ANEW),
    "clusters": (other_clusters, ANEW),
    "labels of the validation": (other_truth, ANEW),
    "images of the validation": (other_validation_images, ANEW),
    "start": (other_start, ANEW),
    "network": (other_network, ANEW),
}


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """A training of three epochs, each validated; a score falls from epoch to epoch, without any search."""
    files = make_building_training(tmp_path_factory.mktemp("patient") / "building_training")
    with pytest.MonkeyPatch.context() as patch:
        scores = iter([Score(value, "higher") for value in np.linspace(1, 0, 60).tolist()])
        patch.setattr("descbench.training.train.Validator.__call__", lambda self, network: next(scores))
        train_checkpoint(files, MODEL, PATIENT, device="cpu")
        yield files


class BegunAnew(Exception):
    """Ends a training that begins with its first epoch."""


@pytest.fixture
def planned(monkeypatch):
    """Pieces of epochs that are planned, and so trained; the first epoch is not."""
    found = []

    def look(self, *which):
        found.append(which)
        if which in ANEW:
            raise BegunAnew
        return PLAN(self, *which)

    monkeypatch.setattr(TupleRecipe, "plan", look)
    return found


@pytest.mark.parametrize("change", RESUMED)
def test_what_a_state_is_resumed_for(patient, tmp_path, planned, change):
    """A state goes on where training anew would come by it, and nowhere else."""
    folder = tmp_path / "building_training"
    shutil.copytree(patient.start.parent, folder)
    files, (edit, expected) = make_files(folder), RESUMED[change]
    model, settings = edit(files, MODEL, PATIENT) or (MODEL, PATIENT)
    with pytest.raises(BegunAnew) if expected == ANEW else nullcontext():
        train_checkpoint(files, model, settings, device="cpu")
    assert planned == expected
    if expected != ANEW:
        # The best epoch is the first, whatever comes after.
        assert files.checkpoint.read_bytes() == patient.checkpoint.read_bytes()


def test_a_cadence_that_validates_the_same_epochs_goes_on(building_training, planned):
    first, second = (
        PATIENT.model_copy(update={"validation": VALIDATION.model_copy(update={"every": every})}) for every in (8, 9)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TupleRecipe, "plan", PLAN)
        train_checkpoint(building_training, MODEL, first, device="cpu")
    train_checkpoint(building_training, MODEL, second, device="cpu")
    assert planned == []


def test_a_loss_that_is_not_finite_stops_with_the_images(building_training, monkeypatch):
    plain = TupleRecipe.loss
    monkeypatch.setattr(TupleRecipe, "loss", lambda self, item: math.nan * plain(self, item))
    with pytest.raises(DataError, match=r"epoch 1, step 1: the loss is .*nan.*images/\d_\d\.png"):
        train_checkpoint(building_training, MODEL, SETTINGS, device="cpu")
    kept = torch.load(building_training.folder / "state.pt", weights_only=True)["network"]
    assert same(load_network(building_training.start, MODEL).state_dict(), kept)


def test_missing_images_are_named(building_training):
    (building_training.images.root / "2_1.png").unlink()
    with pytest.raises(DataError, match=r"1 of 24 train images .*2_1\.png"):
        train_checkpoint(building_training, MODEL, SETTINGS, device="cpu")


def test_too_few_clusters_for_the_negatives(building_training):
    with pytest.raises(DataError, match=r"only 5 of 6 negatives.*lower `negatives`"):
        train_checkpoint(
            building_training, MODEL, SETTINGS.model_copy(update={"negatives": 6, "pool": 24}), device="cpu"
        )


def test_too_few_tuples_for_a_step(building_training):
    with pytest.raises(DataError, match="lower `batch`"):
        train_checkpoint(building_training, MODEL, SETTINGS.model_copy(update={"batch": 50}), device="cpu")


def test_a_start_of_another_architecture(building_training):
    other = MODEL.model_copy(update={"dim": 16})
    with pytest.raises(DataError, match=r"'dim': 8.*'dim': 16"):
        train_checkpoint(building_training, other, SETTINGS, device="cpu")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (((), ()), "no pairs"),
        (((0,), (0,)), "not of two images of one cluster"),
        (((0,), (5,)), "not of two images of one cluster"),
        (((0,), (99,)), "image 99 is outside the 24"),
    ],
)
def test_pairs_that_are_none(pairs, message):
    with pytest.raises(DataError, match=message):
        TrainingPairs(*pairs).check([i // 4 for i in range(24)], "list.pkl")


def test_a_cluster_of_one_image_is_no_pair_but_a_negative():
    clusters = np.array([0, 0, 1])
    with pytest.raises(DataError, match=r"pair 2, 2 \(clusters 1, 1\) is not of two images of one cluster"):
        TrainingPairs((0, 2), (1, 2)).check(clusters.tolist(), "list.pkl")
    mined = mine_tuples(
        Pairs(clusters, np.array([0]), np.array([1])),
        lambda images: np.eye(3, dtype=np.float32)[list(images)],
        negatives=1,
        query_size=1,
        pool_size=3,
    )
    assert mined.negatives.tolist() == [[2]]


def test_pairs_survive_their_file(tmp_path):
    pairs = TrainingPairs((0, 4), (1, 6))
    write_pairs(pairs, tmp_path / "p.json")
    assert read_pairs(tmp_path / "p.json") == pairs
    (tmp_path / "null.json").write_text("null")
    with pytest.raises(DataError, match=r"null\.json: not a file of training pairs"):
        read_pairs(tmp_path / "null.json")


def test_validation_decides_the_best_epoch(building_training):
    query = QuerySettings(multiple_assignment=2)
    validation = Validation(
        dataset="val", every=2, image_size=64, scales=(1.0,), n=4, codebook_images=20, codebook_size=8, query=query
    )
    train_checkpoint(building_training, MODEL, SETTINGS.model_copy(update={"validation": validation}), device="cpu")
    with open(building_training.history, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["score"] != "" for row in rows] == [False, True, False]
    assert [int(row["best"]) for row in rows] == [1, 1, 0]
    assert not list(building_training.folder.glob("*.work.*"))


def test_patience_ends_a_training(building_training, monkeypatch):
    validation = Validation(dataset="val", every=1)
    settings = SETTINGS.model_copy(update={"validation": validation, "patience": 2, "epochs": 9})
    scores = iter([Score(value, "higher") for value in (0.5, 0.6, 0.6, 0.4, 0.9)])
    monkeypatch.setattr("descbench.training.train.Validator.__call__", lambda self, network: next(scores))
    train_checkpoint(building_training, MODEL, settings, device="cpu")
    assert len(building_training.history.read_text().splitlines()) == 1 + 4
    assert torch.load(building_training.checkpoint, weights_only=True)["source"]["epoch"] == 2


def test_the_best_rule():
    best = Best(4, None, 1.0)
    assert best.beaten_by(0.9, None)
    assert not best.beaten_by(1.0, None)
    assert not Best(5, 0.5, 2.0).beaten_by(0.1, None), "a loss beats no score"
    for direction in ("higher", "lower"):
        assert best.beaten_by(2.0, Score(0.1, direction)), "the first score beats every loss"
        assert not Best(5, 0.5, 2.0).beaten_by(0.1, Score(0.5, direction)), "the earliest of equal scores stays"
        assert Best(5, 0.5, 2.0).beaten_by(0.1, Score(0.6, direction)) == (direction == "higher")
        assert Best(5, 0.5, 2.0).beaten_by(0.1, Score(0.4, direction)) == (direction == "lower")


@pytest.fixture(scope="module")
def fire(tmp_path_factory):
    """A training of FIRe that ran through."""
    files = make_building_training(tmp_path_factory.mktemp("fire") / "building_training", FIRE)
    train_checkpoint(files, FIRE, FIRE_SETTINGS, device="cpu")
    return files


def test_fire_trains_all_but_the_reduction(fire):
    start, trained = (load_network(path, FIRE).state_dict() for path in (fire.start, fire.checkpoint))
    assert torch.equal(start["dim_reduction.weight"], trained["dim_reduction.weight"])
    for key in ("features.0.weight", "lit.templates_init", "lit.project_k.weight", "lit.mlp.0.weight"):
        assert not torch.equal(start[key], trained[key]), key
    assert len(fire.history.read_text().splitlines()) == 1 + FIRE_SETTINGS.epochs


def test_fire_goes_on_from_its_state(fire, tmp_path):
    """Mirroring is drawn from the seed of the epoch, so that a resumed training gives the same bits."""
    files = make_building_training(tmp_path / "building_training", FIRE)
    train_checkpoint(files, FIRE, FIRE_SETTINGS.model_copy(update={"epochs": 1}), device="cpu")
    train_checkpoint(files, FIRE, FIRE_SETTINGS, device="cpu")
    one, other = (load_network(path, FIRE).state_dict() for path in (files.checkpoint, fire.checkpoint))
    assert same(one, other)


@pytest.mark.parametrize(("flip", "share"), [(0.0, 0), (1.0, 1)])
def test_fire_mirrors_images(fire, monkeypatch, flip, share):
    files = replace(fire, folder=fire.folder / f"flip{flip}", checkpoint=fire.folder / "c.pt")
    shown = []
    load = TrainingImages.load
    monkeypatch.setattr(TrainingImages, "load", lambda self, image, flip: shown.append(flip) or load(self, image, flip))
    train_checkpoint(files, FIRE, FIRE_SETTINGS.model_copy(update={"flip": flip, "epochs": 1}), device="cpu")
    # Mining shows six queries and a pool of twenty, the steps six tuples of four.
    assert len(shown) == 6 + 20 + 6 * 4
    assert np.mean(shown) == share


def test_fire_without_its_losses_stands_still(fire):
    """With both weights at 0 only the weight decay moves anything."""
    nothing = {"superfeature_weight": 0.0, "attention_weight": 0.0, "weight_decay": 0.0, "epochs": 1}
    files = replace(fire, folder=fire.folder / "still", checkpoint=fire.folder / "still.pt")
    train_checkpoint(files, FIRE, FIRE_SETTINGS.model_copy(update=nothing), device="cpu")
    assert same(load_network(files.checkpoint, FIRE).state_dict(), load_network(files.start, FIRE).state_dict())


def test_whitening_of_super_features(fire, tmp_path):
    whitened = WhitenedWeights(
        source="whitened", start="s", dataset="building_training", images=20, image_size=64, flip=0.5
    )
    model = FIRE.model_copy(update={"weights": whitened})
    places = (fire.start, fire.images.manifest, fire.images.root, model)
    for name, seed in (("a.pt", 1), ("b.pt", 1), ("c.pt", 2)):
        whiten_checkpoint(*places, tmp_path / name, seed=seed, device="cpu", workers=0)
    a, b, c = (load_network(tmp_path / name, model).state_dict() for name in ("a.pt", "b.pt", "c.pt"))
    assert same(a, b)
    assert not torch.equal(a["dim_reduction.weight"], c["dim_reduction.weight"])
    assert torch.equal(a["lit.templates_init"], c["lit.templates_init"])


def test_whitening_makes_unit_covariance(building_training, tmp_path):
    whitened = WhitenedWeights(source="whitened", start="s", dataset="building_training", images=20, n=6, image_size=64)
    model = MODEL.model_copy(update={"weights": whitened})
    whiten_checkpoint(
        building_training.start,
        building_training.images.manifest,
        building_training.images.root,
        model,
        tmp_path / "w.pt",
        device="cpu",
        workers=0,
    )
    network = load_network(tmp_path / "w.pt", model)
    start = load_network(building_training.start, MODEL)
    assert torch.equal(start.features[0].weight, network.features[0].weight)
    rows = training_manifest(building_training.images.manifest, "train", building_training.images.root, 20).rows
    images = TrainingImages(tuple(building_training.images.root / r.path for r in rows), 64, network.mean, network.std)
    with torch.inference_mode():
        raw = torch.cat([network.unreduced(images.load(i), 6) for i in range(20)])
        reduced = network.dim_reduction(raw.T[None, :, :, None])[0, :, :, 0].numpy()
    np.testing.assert_allclose(reduced.mean(1), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(reduced, bias=True), np.eye(8), atol=5e-3)


def test_a_whitening_of_too_few_descriptors(building_training, tmp_path):
    whitened = WhitenedWeights(source="whitened", start="s", dataset="building_training", images=1, n=2, image_size=64)
    model = MODEL.model_copy(update={"weights": whitened})
    with pytest.raises(DataError, match="2 descriptors of 1 images are too few"):
        whiten_checkpoint(
            building_training.start,
            building_training.images.manifest,
            building_training.images.root,
            model,
            tmp_path / "w.pt",
            device="cpu",
            workers=0,
        )


def test_mixed_precision_has_no_effect_on_the_cpu(tmp_path):
    """`amp` is for GPUs: on the CPU the trained weights are the same to the bit."""
    digests = []
    for amp in (False, True):
        files = make_building_training(tmp_path / str(amp))
        settings = SETTINGS.model_copy(update={"epochs": 1, "amp": amp})
        train_checkpoint(files, MODEL, settings, device="cpu")
        digests.append(checkpoint_digest(files.checkpoint))
    assert digests[0] == digests[1]
