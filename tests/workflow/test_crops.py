"""Training on crops of single images, through the workflow's own rules on a tiny town."""

import json
import shutil

import option_looks as look
import pytest
from in_process import RefusedError, merged
from PIL import Image

from descbench.config.load import load_config_files
from descbench.datasets.crop_labels import read_crop_labels, read_keypoints
from descbench.datasets.manifest import read_manifest
from descbench.errors import ConfigError
from descbench.lineage import Lineage

HNDESC = {"architecture": "hndesc", "backbone": "r2d2"}
FOLDERS = {
    "images": "toytown/singles/MegaDepth",
    "stylised": "toytown/singles/MegaDepth-stylized",
    "keypoints": "toytown/singles/MegaDepth-light-features/kpts/superpoint",
}
TOWN = {
    "data_dir": "other",
    "toytown": {"singles": {"width": 112, "height": 96, "train": 7, "val": 3, "keypoints": 60}},
    "datasets": {"singles": {"format": "megadepth", "generator": "toytown", **FOLDERS}},
    "models": {
        "hndesc_start": {**HNDESC, "weights": {"source": "random"}},
        "hndesc_trained": {**HNDESC, "weights": {"source": "train", "start": "hndesc_start", "training": "crops"}},
    },
    "features": {"corners": {"kind": "keypoints", "describe": "pixels", "detector": "orb", "image_size": 112}},
    "training": {
        "crops": {
            "recipe": "hndesc",
            "dataset": "singles",
            "crop": 48,
            "batch": 3,
            "steps": 2,
            "epochs": 1,
            "stylised": 1.0,
            "workers": 0,
        }
    },
}
CHECKPOINT, MANIFEST = "results/checkpoints/hndesc_trained.pt", "results/manifests/singles.csv"


@pytest.fixture(scope="module")
def trained(base):
    """A bench where a network was trained once."""
    bench = base.copy("crops")
    ran = bench.make(CHECKPOINT, overlay=TOWN)
    assert ran.count("train_on_crops") == 1
    assert {"draw_toytown", "build_manifest", "convert_checkpoint"} <= set(ran)
    assert "train_checkpoint" not in ran
    return bench


def test_a_training(trained):
    weights = look.weights(trained.folder / CHECKPOINT)
    assert weights != look.weights(trained.folder / "results/checkpoints/hndesc_start.pt")
    history = (trained.folder / "results/training/hndesc_trained/history.csv").read_text().splitlines()
    assert len(history) == 2
    score = dict(zip(*(line.split(",") for line in history), strict=True))["score"]
    assert 0 < float(score) < 1
    assert trained.jobs(CHECKPOINT, overlay=TOWN) == []


def test_keypoints_that_the_workflow_finds(trained):
    """Features of both roles come before the training, and other keypoints are other weights."""
    bench = trained.copy("crops-features")
    overlay = merged(TOWN, {"training": {"crops": {"keypoints": "corners"}}})
    ran = bench.make(CHECKPOINT, overlay=overlay, anew=["train_on_crops"])
    assert ran.count("extract_features") == 2
    assert ran[-1] == "train_on_crops"
    for role in ("train", "val"):
        assert (bench.folder / f"results/features/corners/singles/{role}/00000.h5").is_file()
    assert look.weights(bench.folder / CHECKPOINT) != look.weights(trained.folder / CHECKPOINT)
    # Without a validation, its images are not looked at.
    unvalidated = merged(overlay, {"training": {"crops": {"validation": None}}})
    shutil.rmtree(bench.folder / "results/features/corners/singles/val")
    jobs = bench.jobs(CHECKPOINT, overlay=unvalidated, anew=["train_on_crops"])
    assert [job.rule.name for job in jobs] == ["train_on_crops"]


def test_folders_of_a_dataset(trained):
    bench = trained.copy("crops-folders")
    town = bench.folder / "other/datasets"
    for key, folder in FOLDERS.items():
        shutil.copytree(town / folder, town / "mine" / key)
    one = next((town / "mine/stylised/train").rglob("*.jpg"))
    one.unlink()
    before = read_crop_labels(
        bench.folder / "results/manifests/singles.gt.json", read_manifest(bench.folder / MANIFEST)
    )
    for key, seen in (("images", "path"), ("stylised", "stylised"), ("keypoints", "keypoints")):
        changed = bench.copy(f"crops-folder-{key}")
        overlay = merged(TOWN, {"datasets": {"singles": {key: f"mine/{key}"}}})
        changed.make(MANIFEST, overlay=overlay, anew=["build_manifest"])
        manifest = read_manifest(changed.folder / MANIFEST)
        found = read_crop_labels(changed.folder / "results/manifests/singles.gt.json", manifest)
        names = [getattr(holder, seen) for holder in (manifest.rows if key == "images" else found.items)]
        assert all(name is None or name.startswith(f"mine/{key}/") for name in names)
        assert (found != before) == (key != "images")
        assert names.count(None) == (4 if key == "stylised" else 0)


def test_a_town_with_other_single_images(trained):
    bench = trained.copy("crops-town")
    singles = {"width": 128, "height": 80, "train": 3, "val": 2, "keypoints": 15}
    bench.make(MANIFEST, overlay=merged(TOWN, {"toytown": {"singles": singles}}), anew=["draw_toytown"])
    manifest = read_manifest(bench.folder / MANIFEST)
    assert [row.role for row in manifest.rows] == ["train"] * 3 + ["val"] * 2
    root = bench.folder / "other/datasets"
    assert {Image.open(root / row.path).size for row in manifest.rows} == {(128, 80)}
    labels = read_crop_labels(bench.folder / "results/manifests/singles.gt.json", manifest)
    assert {len(read_keypoints(root / item.keypoints)) for item in labels.items} == {15}


def test_damaged_keypoints_are_named(trained):
    bench = trained.copy("crops-damaged")
    labels = json.loads((bench.folder / "results/manifests/singles.gt.json").read_text())
    path = bench.folder / "other/datasets" / labels["images"][0][1]
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:40])
    (bench.folder / "results/training/hndesc_trained/state.pt").unlink(missing_ok=True)
    with pytest.raises(RefusedError, match=path.name):
        bench.make(CHECKPOINT, overlay=TOWN, anew=["train_on_crops"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "toytown_sfm"}, r"'toytown_sfm' is of format sfm120k; hndesc is trained on megadepth"),
        ({"keypoints": "own"}, r"features 'own' have no keypoints"),
        ({"batch": 1}, r"greater than or equal to 2"),
    ],
)
def test_blocks_that_do_not_fit(base, change, message, monkeypatch):
    monkeypatch.chdir(base.folder)
    with pytest.raises(ConfigError, match=message):
        _load(base, merged(TOWN, {"training": {"crops": change}}))


def test_a_dataset_without_keypoints(base, monkeypatch):
    monkeypatch.chdir(base.folder)
    overlay = merged(TOWN, {"datasets": {"singles": {"keypoints": None}}})
    with pytest.raises(ConfigError, match="'singles' has no `keypoints` of its own; name features that find them"):
        _load(base, overlay)


def _load(bench, overlay):
    path = bench.folder.parent / "refused.yaml"
    path.write_text(json.dumps(merged(bench.config, overlay)))
    load_config_files(path, home=bench.project)


def test_what_found_the_keypoints_is_behind_a_result(base, monkeypatch):
    """The network whose keypoints a training learns from, and its features, stand in the provenance."""
    monkeypatch.chdir(base.folder)
    change = {
        "training": {"crops": {"keypoints": "corners"}},
        "features": {
            "corners": {"describe": "network", "model": "patches"},
            "points": {"kind": "keypoints", "describe": "network", "model": "hndesc_trained"},
        },
        "methods": {"points": {"match": "nearest", "features": "points"}},
    }
    path = base.folder.parent / "behind.yaml"
    path.write_text(json.dumps(merged(base.config, merged(TOWN, change))))
    lineage = Lineage(load_config_files(path, home=base.project))
    assert lineage.models_behind("points") == ["hndesc_trained", "hndesc_start", "patches"]
    blocks = lineage.blocks_behind("points", "facades")
    assert {"points", "corners"} <= blocks["features"].keys()
    assert {"facades", "singles"} <= blocks["datasets"].keys()
