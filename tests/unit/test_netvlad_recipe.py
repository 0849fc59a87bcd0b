import csv
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from street_training import MODEL, SETTINGS, VIEWS, make_street_training

from descbench.config.training import PlaceValidation
from descbench.config.weights import OfficialWeights
from descbench.datasets.places import PlaceLabels, read_places, write_places
from descbench.errors import DataError
from descbench.io.jsonfiles import write_checked_json
from descbench.models.checkpoints import convert_checkpoint, load_network
from descbench.training.hard_negatives import mine_place
from descbench.training.netvlad import NetVladRecipe
from descbench.training.train import train_checkpoint


@pytest.fixture(scope="module")
def through(tmp_path_factory):
    """A training that ran through: two epochs of two pieces."""
    files = make_street_training(tmp_path_factory.mktemp("street_training") / "street_training")
    train_checkpoint(files, MODEL, SETTINGS, device="cpu")
    return files


@pytest.fixture
def street_training(through, tmp_path):
    """The same training, not trained yet."""
    shutil.copytree(
        through.start.parent, tmp_path / "street_training", ignore=shutil.ignore_patterns("work", "trained.pt")
    )
    names = ("start", "labels", "ground_truth", "checkpoint", "history", "folder")
    moved = {name: tmp_path / "street_training" / getattr(through, name).name for name in names}
    return replace(through, **moved)


def weights(files):
    return load_network(files.checkpoint, MODEL).state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_only_the_chosen_layers_change(through):
    start, trained = load_network(through.start, MODEL).state_dict(), weights(through)
    changed = {key for key in start if not torch.equal(start[key], trained[key])}
    assert changed == {"encoder.10.weight", "encoder.10.bias", "pool.centroids", "pool.conv.weight"}


def test_history(through):
    with open(through.history, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    assert 0 < float(rows[0]["negatives_a_query"]) <= SETTINGS.negatives
    assert not (through.folder / "descriptors.npy").exists()


@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_killed_training_goes_on_to_the_same_bits(through, street_training, monkeypatch, step):
    """Killed in the first piece, in the second, and in the next epoch."""
    plain, done = NetVladRecipe.loss, []

    def loss(self, item):
        done.append(item)
        if len(done) == step:
            raise KeyboardInterrupt
        return plain(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(NetVladRecipe, "loss", loss)
        with pytest.raises(KeyboardInterrupt):
            train_checkpoint(street_training, MODEL, SETTINGS, device="cpu")
    train_checkpoint(street_training, MODEL, SETTINGS, device="cpu")
    assert same(weights(street_training), weights(through))
    assert street_training.history.read_text() == through.history.read_text()


def test_the_run_can_be_read_as_one_of_the_original(through, tmp_path):
    official = MODEL.model_copy(update={"weights": OfficialWeights(source="official", file="run")})
    convert_checkpoint(official, through.folder / "run", tmp_path / "again.pt")
    assert same(load_network(tmp_path / "again.pt", MODEL).state_dict(), weights(through))
    flags = json.loads((through.folder / "run" / "checkpoints" / "flags.json").read_text())
    assert (flags["arch"], flags["num_clusters"], flags["vladv2"]) == ("alexnet", 3, False)


def test_the_best_epoch_is_that_of_the_recall(street_training):
    validation = PlaceValidation(dataset="street_training", image_size=64)
    train_checkpoint(street_training, MODEL, SETTINGS.model_copy(update={"validation": validation}), device="cpu")
    with open(street_training.history, newline="") as stream:
        scores = [float(row["score"]) for row in csv.DictReader(stream)]
    assert 0.5 < max(scores) <= 1
    run = torch.load(street_training.folder / "run" / "checkpoints" / "model_best.pth.tar", weights_only=True)
    assert (run["best_score"], run["recalls"][5]) == (max(scores), max(scores))
    assert run["epoch"] == 1 + scores.index(max(scores))


def memory(files):
    return torch.load(files.folder / "state.pt", weights_only=True)["memory"]["negatives"]


def test_loader_processes_lose_no_negatives(through, street_training):
    train_checkpoint(street_training, MODEL, SETTINGS.model_copy(update={"workers": 2}), device="cpu")
    assert same(weights(street_training), weights(through))
    assert torch.equal(memory(street_training), memory(through))
    assert (memory(through)[:, 0] >= 0).any()


def test_remembered_negatives_are_candidates(through, street_training, monkeypatch):
    seen = {}

    def watch(query, database, positives, candidates, **settings):
        seen.setdefault(int(positives[0]), []).append(set(candidates.tolist()))
        return mine_place(query, database, positives, candidates, **settings)

    monkeypatch.setattr("descbench.training.netvlad.mine_place", watch)
    settings = SETTINGS.model_copy(update={"pool": 21, "negatives": 1, "epochs": 2})
    train_checkpoint(street_training, MODEL, settings, device="cpu")
    kept = [(place, row[row >= 0].tolist()) for place, row in enumerate(memory(street_training))]
    remembered = [(place, row) for place, row in kept if row]
    assert remembered
    for place, row in remembered:
        assert set(row) <= seen[VIEWS * place][-1]


def test_forgetful_training_keeps_no_negatives(street_training):
    train_checkpoint(street_training, MODEL, SETTINGS.model_copy(update={"cache_negatives": False}), device="cpu")
    assert (memory(street_training) == -1).all()


def test_steps_without_negatives_change_nothing(street_training, monkeypatch):
    """The momentum of earlier steps, and weight decay, wait too."""
    train_checkpoint(street_training, MODEL, SETTINGS.model_copy(update={"epochs": 1}), device="cpu")
    before = torch.load(street_training.folder / "state.pt", weights_only=True)["network"]
    plain = NetVladRecipe.plan

    def plan(self, epoch, piece):
        found = plain(self, epoch, piece)
        found.tensors["tuples"][:, 2:] = -1
        return found

    monkeypatch.setattr(NetVladRecipe, "plan", plan)
    train_checkpoint(street_training, MODEL, SETTINGS, device="cpu")
    assert same(before, torch.load(street_training.folder / "state.pt", weights_only=True)["network"])
    with open(street_training.history, newline="") as stream:
        losses = [float(row["train_loss"]) for row in csv.DictReader(stream)]
    assert losses[0] > losses[1] == 0


def test_an_easy_query_is_passed_over():
    database = np.eye(12, dtype=np.float32)
    mined = mine_place(database[0], database, np.array([0]), np.arange(1, 12), margin=0.1, wanted=1)
    assert (mined.positive, mined.negatives.tolist()) == (0, [])
    mined = mine_place(database[0], database, np.array([0]), np.arange(1, 12), margin=3.0, wanted=1)
    assert mined.negatives.tolist() == [1]


def test_no_positives_at_all(street_training):
    labels = read_places(street_training.labels)
    write_places(PlaceLabels(25.0, labels.positives, ((),) * len(labels.positives)), street_training.labels)
    with pytest.raises(DataError, match="no query has a training positive"):
        train_checkpoint(street_training, MODEL, SETTINGS, device="cpu")


def test_too_few_candidates_names_the_query(street_training):
    with pytest.raises(DataError, match=r"\d_3\.png: \d+ different negatives are fewer than 10 times 3"):
        train_checkpoint(street_training, MODEL, SETTINGS.model_copy(update={"negatives": 3}), device="cpu")


def test_a_loss_that_is_not_finite_stops_with_the_images(street_training, monkeypatch):
    plain = NetVladRecipe.loss
    monkeypatch.setattr(NetVladRecipe, "loss", lambda self, item: math.nan * plain(self, item))
    with pytest.raises(DataError, match=r"epoch 1, step 1: the loss is .*nan.*\d_3\.png"):
        train_checkpoint(street_training, MODEL, SETTINGS, device="cpu")


def test_labels_of_another_kind_are_refused(street_training):
    write_checked_json(street_training.labels, {"protocol": "pairs", "pairs": []})
    with pytest.raises(DataError, match="holds no positions"):
        train_checkpoint(street_training, MODEL, SETTINGS, device="cpu")
