"""Training of HNDesc: every option, resume to the bit, what is drawn, and what is refused."""

from __future__ import annotations

import csv
import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_crops import DATASET, MODEL, SETTINGS, changed, make_crop_training

from descbench.config.crop_training import HNDescTraining
from descbench.datasets.manifest import read_manifest
from descbench.errors import DataError, StaleFileError
from descbench.features.store import ShardInfo, ShardWriter
from descbench.models.checkpoints import load_network
from descbench.training.crops import CropImages, read_crop_images
from descbench.training.hndesc import SAMPLINGS, HNDescRecipe
from descbench.training.train_crops import CropTrainingFiles, train_on_crops

pytestmark = pytest.mark.usefixtures("one_thread")

COLOURS = ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def trained(files: CropTrainingFiles, settings: HNDescTraining, model=MODEL) -> dict[str, torch.Tensor]:
    train_on_crops(files, model, settings, device="cpu")
    return load_network(files.checkpoint, model).state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[key]) for key, value in one.items())


def into(files: CropTrainingFiles, folder: Path) -> CropTrainingFiles:
    """The same training, with results elsewhere."""
    return replace(files, checkpoint=folder / "t.pt", history=folder / "h.csv", folder=folder / "work")


def rows_of(files: CropTrainingFiles) -> list[dict[str, str]]:
    with open(files.history, newline="") as stream:
        return list(csv.DictReader(stream))


def images_of(files: CropTrainingFiles, settings: HNDescTraining = SETTINGS, role: str = "train") -> CropImages:
    shards = files.keypoints if role == "train" else files.validation_keypoints
    return read_crop_images(files.manifest, files.labels, files.root, shards, COLOURS, settings, role)


@pytest.fixture(scope="module")
def through(tmp_path_factory) -> CropTrainingFiles:
    """A training that ran through."""
    files = make_crop_training(tmp_path_factory.mktemp("crops") / "training")
    train_on_crops(files, MODEL, SETTINGS, device="cpu")
    return files


OPTIONS: dict[str, Any] = {
    "crop": 40,
    "points": 5,
    "stylised": 0.0,
    "colours": False,
    "fallback": "same_crop",
    "loss": "triplet_margin",
    "negatives": "in_pair",
    "hardest": 2,
    "bins": 5,
    "euclidean": True,
    "epochs": 1,
    "steps": 1,
    "batch": 2,
    "learning_rate": 1e-2,
    "decay_every": 1,
    "decay": 0.9,
    "seed": 5,
}


@pytest.mark.parametrize("key", OPTIONS)
def test_an_option_changes_the_weights(through, tmp_path, key):
    """The start and all random numbers are the same; only the option differs."""
    assert getattr(SETTINGS, key) != OPTIONS[key]
    found = trained(into(through, tmp_path), changed(**{key: OPTIONS[key]}))
    assert not same(found, load_network(through.checkpoint, MODEL).state_dict())


@pytest.mark.parametrize("negatives", ["all", "random"])
def test_other_negatives(through, tmp_path, negatives):
    found = trained(into(through, tmp_path), changed(negatives=negatives))
    assert all(value.isfinite().all() for value in found.values())
    assert not same(found, load_network(through.checkpoint, MODEL).state_dict())


def test_the_margin_is_of_the_triplets(through, tmp_path):
    narrow, wide = (
        trained(into(through, tmp_path / str(margin)), changed(loss="triplet_margin", margin=margin))
        for margin in (0.01, 1.0)
    )
    assert not same(narrow, wide)
    kept = trained(into(through, tmp_path / "ap"), changed(margin=0.01))
    assert same(kept, load_network(through.checkpoint, MODEL).state_dict())


def test_both_backbones_are_trained(tmp_path):
    """The unused layer of the other backbone stays as it is; its running statistics move."""
    model = MODEL.model_copy(update={"backbone": "caps"})
    files = make_crop_training(tmp_path, model)
    start = load_network(files.start, model).state_dict()
    found = trained(files, changed(crop=64, epochs=1, steps=1), model)
    moved = {key for key, value in found.items() if not torch.equal(value, start[key])}
    assert "conv_fine.conv.weight" in moved
    assert "firstconv.weight" in moved
    assert {key for key in moved if key.startswith("conv_coarse")} == {
        f"conv_coarse.bn.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")
    }


def test_other_images_are_other_weights(through, tmp_path):
    other = make_crop_training(tmp_path / "other", first=20)
    assert not same(trained(other, SETTINGS), load_network(through.checkpoint, MODEL).state_dict())


def test_processes_that_load_change_nothing(through, tmp_path):
    found = trained(into(through, tmp_path), changed(workers=2))
    assert same(found, load_network(through.checkpoint, MODEL).state_dict())


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stopped_training_goes_on_to_the_same_bits(through, tmp_path, monkeypatch, name):
    files, calls, plain = into(through, tmp_path / "stopped"), [], HNDescRecipe.loss

    def loss(self, item):
        calls.append(item)
        if len(calls) == 3:  # the first step of the second epoch
            os.kill(os.getpid(), getattr(signal, name))
        return plain(self, item)

    monkeypatch.setattr(HNDescRecipe, "loss", loss)
    with pytest.raises(SystemExit):
        train_on_crops(files, MODEL, SETTINGS, device="cpu")
    state = torch.load(files.folder / "state.pt", weights_only=True)["state"]
    assert (state["epoch"], state["step"]) == (1, 1)
    monkeypatch.setattr(HNDescRecipe, "loss", plain)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - what runs in between
    assert same(trained(files, SETTINGS), load_network(through.checkpoint, MODEL).state_dict())
    assert files.history.read_text() == through.history.read_text()


@pytest.mark.parametrize("role", ["train", "test"])
def test_other_keypoints_are_another_training(tmp_path, caplog, role):
    """Of the training images, and of those for validation, whose paths stay what they were."""
    caplog.set_level("INFO")
    files = make_crop_training(tmp_path)
    settings = changed(epochs=1, validation={"images": 2})
    train_on_crops(files, MODEL, settings, device="cpu")
    first = sorted((tmp_path / "points").glob(f"{role}_*/*.pkl"))[0]
    points = pickle.loads(first.read_bytes())
    first.write_bytes(pickle.dumps(points[::-1].copy()))
    caplog.clear()
    found = trained(files, settings.model_copy(update={"epochs": 2}))
    assert "resumed" not in caplog.text
    fresh = trained(into(files, tmp_path / "fresh"), settings.model_copy(update={"epochs": 2}))
    assert same(found, fresh)


def test_history(through):
    rows = rows_of(through)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    # The rate is that after the last step of an epoch: two steps, then a decay.
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([5e-4, 2.5e-4])


def test_epochs_that_are_validated(through, tmp_path):
    """Smaller is better; no weight moves; the best epoch is kept, and fewer images are another score."""
    found = {}
    for name, block in (("all", {}), ("every", {"every": 2}), ("two", {"images": 2})):
        files = into(through, tmp_path / name)
        weights = trained(files, changed(epochs=4, validation=block))
        found[name] = rows = rows_of(files)
        scored = {row["epoch"]: float(row["score"]) for row in rows if row["score"]}
        assert all(0 < score < 1 for score in scored.values())
        best = max(int(row["epoch"]) for row in rows if row["best"] == "1")
        assert best == int(min(scored, key=scored.get))
        assert all(value.isfinite().all() for value in weights.values())
    losses = [[row["train_loss"] for row in rows] for rows in found.values()]
    assert losses[0] == losses[1] == losses[2]
    assert [bool(row["score"]) for row in found["every"]] == [False, True, False, True]
    assert found["all"][1]["score"] == found["every"][1]["score"] != found["two"][1]["score"]


def test_patience_ends_a_training(through, tmp_path):
    """A rate as high as this makes the network worse at once."""
    files = into(through, tmp_path)
    trained(files, changed(epochs=6, learning_rate=5.0, decay=1.0, steps=1, validation={}, patience=1))
    assert len(rows_of(files)) < 6
    with pytest.raises(ValueError, match="`patience` counts validations"):
        changed(patience=1)


def test_it_learns(through, tmp_path):
    files = into(through, tmp_path)
    trained(files, changed(epochs=5, steps=8, decay_every=1000, validation={}))
    scores = [float(row["score"]) for row in rows_of(files)]
    assert min(scores[1:]) < 0.8 * scores[0]


# --- crops -------------------------------------------------------------------------------------


def test_passes_show_every_image_once(through):
    recipe = HNDescRecipe(load_network(through.start, MODEL), SAMPLINGS["r2d2"], images_of(through), SETTINGS, None)
    shown = torch.cat([recipe.plan(epoch, 0).tensors["images"] for epoch in (1, 2, 3)])
    assert shown.shape == (6, 3)
    passes = shown.reshape(3, 6).tolist()  # two batches of seven images
    assert all(len(set(images)) == 6 for images in passes)
    assert len(set(map(tuple, passes))) == 3


def test_validation_has_no_copies_and_no_changes_of_colour(through, monkeypatch):
    settings = changed(validation={})
    images = images_of(through, settings, "val")
    monkeypatch.setattr("descbench.training.crops.change_colours", lambda crop, random: 1 / 0)
    pair, tensors = images.draw(0, (0, 0))
    same_pair, _ = images.draw(0, (0, 0))
    np.testing.assert_array_equal(pair.crops[1], same_pair.crops[1])
    expected = (torch.from_numpy(pair.crops[0]).permute(2, 0, 1) / 255 - 0.5) / 0.2
    torch.testing.assert_close(tensors[0], expected)


def test_copies_are_taken_as_often_as_they_should_be(through):
    plain = images_of(through, changed(stylised=0.0, colours=False))
    styled = images_of(through, changed(stylised=0.5, colours=False))
    pairs = [(plain.draw(0, (1, step))[0], styled.draw(0, (1, step))[0]) for step in range(60)]
    assert all(np.array_equal(one.crops[0], other.crops[0]) for one, other in pairs)
    others = sum(not np.array_equal(one.crops[1], other.crops[1]) for one, other in pairs)
    assert 15 < others < 45


# --- keypoints of features ---------------------------------------------------------------------


def write_shards(files: CropTrainingFiles, folder: Path, role: str, keypoints: bool = True) -> tuple[Path, ...]:
    """Two shards of features of the images of a role."""
    rows, paths = read_manifest(files.manifest).of_role(role), []
    for number, part in enumerate((rows.slice(0, 2), rows.slice(2, None))):
        path = folder / f"{role}{number}.h5"
        with ShardWriter(path, ShardInfo("local", "f", part.digest(), "", ""), 2) as writer:
            for row in part.rows:
                points = np.random.default_rng(row.image_id).uniform(5, 65, (150, 2)).astype(np.float32)
                more = {"keypoints": points, "scales": np.ones(150, np.float32)} if keypoints else {}
                writer.add(row.image_id, np.ones((150, 2), np.float32), **more)
        paths.append(path)
    return tuple(paths)


def test_keypoints_of_features(through, tmp_path):
    shards = write_shards(through, tmp_path, "train")
    files = replace(into(through, tmp_path), keypoints=shards)
    images = images_of(files)
    expected = np.random.default_rng(3).uniform(5, 65, (150, 2)).astype(np.float32)
    # The first pixel's centre is at 0.5, 0.5 in the store, and at 0, 0 in crops.
    np.testing.assert_array_equal(images.keypoints(3), expected - np.float32(0.5))
    assert not same(trained(files, SETTINGS), load_network(through.checkpoint, MODEL).state_dict())
    with pytest.raises(DataError, match="hold 2 images, not the 7 of the manifest"):
        images_of(replace(files, keypoints=shards[:1]))
    with pytest.raises(StaleFileError, match="the list of images changed"):
        images_of(replace(files, keypoints=shards[::-1]))
    (tmp_path / "bare").mkdir()
    bare = write_shards(through, tmp_path / "bare", "train", keypoints=False)
    with pytest.raises(DataError, match="these features have no keypoints"):
        images_of(replace(files, keypoints=bare))


# --- refusals ----------------------------------------------------------------------------------


def test_a_batch_larger_than_the_set(through, tmp_path):
    with pytest.raises(DataError, match="7 training images are fewer than the 9 of a batch; lower `batch`"):
        trained(into(through, tmp_path), changed(batch=9))


def test_a_loss_that_is_not_finite_names_images(through, tmp_path, monkeypatch):
    monkeypatch.setattr(HNDescRecipe, "loss", lambda self, item: sum(p.sum() for p in self.network.parameters()) / 0)
    with pytest.raises(DataError, match=r"not finite, on images .*MegaDepth/train/train_\d/\d\d\.jpg"):
        trained(into(through, tmp_path), SETTINGS)


def test_crops_without_common_keypoints(through, tmp_path):
    with pytest.raises(DataError, match=r"pairs of crops teach nothing: no image has two keypoints"):
        trained(into(through, tmp_path), changed(points=1))


def test_images_that_are_not_there(tmp_path):
    files = make_crop_training(tmp_path)
    (tmp_path / "MegaDepth/train/train_0/02.jpg").unlink()
    with pytest.raises(DataError, match="1 of 7 train images are not below"):
        trained(files, SETTINGS)


def test_a_copy_of_another_size(tmp_path):
    files = make_crop_training(tmp_path)
    (tmp_path / "styled/train/train_0/02.jpg").write_bytes((tmp_path / "styled/train/train_0/00.jpg").read_bytes()[:0])
    with pytest.raises(DataError, match=r"styled/train/train_0/02\.jpg"):
        trained(files, changed(stylised=1.0))
    from PIL import Image

    Image.new("RGB", (50, 40)).save(tmp_path / "styled/train/train_0/02.jpg")
    with pytest.raises(DataError, match=r"02\.jpg: 50 x 40 pixels, but .*02\.jpg has 90 x 70"):
        trained(files, changed(stylised=1.0))


def test_a_dataset_without_validation_images(tmp_path):
    files = make_crop_training(tmp_path, dataset=DATASET)
    lines = files.manifest.read_text()
    assert ",val" in lines
    for path in (tmp_path / "MegaDepth/test").rglob("*.jpg"):
        path.unlink()
    with pytest.raises(DataError, match="4 of 4 val images are not below"):
        trained(files, changed(validation={}))
