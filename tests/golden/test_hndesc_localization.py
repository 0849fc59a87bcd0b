"""HNDesc's relocalisation: NVM and intrinsics to a text model, blobs of the database, the pose file."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from goldens import golden_files

from descbench.datasets.cameras import Pose
from descbench.datasets.colmap_model import ModelImage, read_colmap_model
from descbench.datasets.nvm import read_intrinsics, read_nvm_poses
from descbench.datasets.pose_files import pose_names, read_poses, write_poses
from descbench.localization.colmap import number_of, write_database, write_empty_model
from descbench.neighbours.mutual_nearest import mutual_nearest_neighbours

CASES = golden_files("hndesc", "aachen_io*.json")


@pytest.fixture(params=CASES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> tuple[dict, dict]:
    with np.load(request.param.with_suffix(".npz")) as arrays:
        return json.loads(request.param.read_text()), dict(arrays)


def words(text: str) -> list[list[str | float]]:
    """Lines of a text, its numbers as floats."""

    def value(word: str) -> str | float:
        try:
            return float(word)
        except ValueError:
            return word

    return [[value(word) for word in line.split()] for line in text.splitlines()]


def same_text(ours: str, theirs: str) -> None:
    """Numbers to 1e-9, everything else exactly."""
    for one, other in zip(words(ours), words(theirs), strict=True):
        assert [v for v in one if isinstance(v, str)] == [v for v in other if isinstance(v, str)]
        numbers = [[v for v in line if isinstance(v, float)] for line in (one, other)]
        np.testing.assert_allclose(*numbers, rtol=0, atol=1e-9)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_model_of_nvm_and_intrinsics(golden, tmp_path: Path) -> None:
    case = golden[0]
    (tmp_path / "intrinsics.txt").write_text(case["intrinsics_txt"])
    (tmp_path / "model.nvm").write_text(case["nvm"])
    cameras, poses = read_intrinsics(tmp_path / "intrinsics.txt"), read_nvm_poses(tmp_path / "model.nvm")
    listed = sorted((number, name) for name, number in case["image_ids"].items() if name in cameras)
    images = [ModelImage(n, poses[name], case["camera_ids"][name], name) for n, name in listed]
    write_empty_model({i.camera_id: cameras[i.name] for i in images}, images, tmp_path)
    same_text((tmp_path / "cameras.txt").read_text(), case["cameras_txt"])
    same_text((tmp_path / "images.txt").read_text(), case["images_txt"])
    assert (tmp_path / "points3D.txt").read_text() == ""


def test_queries_have_intrinsics(golden, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text(golden[0]["queries_txt"])
    found = read_intrinsics(tmp_path / "queries.txt")
    for name, model, width, height, *params in words(golden[0]["queries_txt"]):
        camera = found[name]
        assert (camera.model, camera.width, camera.height, list(camera.params)) == (model, width, height, params)


def test_blobs_of_the_database(golden, tmp_path: Path) -> None:
    case, arrays = golden
    (tmp_path / "all.txt").write_text(case["intrinsics_txt"] + case["queries_txt"])
    cameras = read_intrinsics(tmp_path / "all.txt")
    described = {key.split("|")[0] for key in arrays if key.endswith("|kpts")}
    ids, images, keypoints = case["image_ids"], {}, {}
    for name in described:
        images[ids[name]] = name, cameras[name]
        # Features were found on images whose longer side was reduced to 1024 pixels, where the file says nothing else.
        scale = max(cameras[name].width, cameras[name].height) / case.get("resize_max", 1024)
        keypoints[ids[name]] = (arrays[f"{name}|kpts"].astype(np.float64) + 0.5) * scale - 0.5
    matches = {}
    for first, second in case["pairs"]:
        if (ids[second], ids[first]) not in matches:
            pairs, _ = mutual_nearest_neighbours(*(unit(arrays[f"{name}|descs"]) for name in (first, second)))
            matches[ids[first], ids[second]] = pairs
    write_database(tmp_path / "database.db", images, keypoints, matches)
    with sqlite3.connect(tmp_path / "database.db") as database:
        found = database.execute("select image_id, rows, cols, data from keypoints").fetchall()
        matched = database.execute("select pair_id, rows, cols, data from matches").fetchall()
    stored = {f"keypoints_blob|{i}": np.frombuffer(b, np.float32).reshape(r, c) for i, r, c, b in found}
    stored |= {f"matches_blob|{i}": np.frombuffer(b, np.uint32).reshape(r, c) for i, r, c, b in matched}
    blobs = {key: value for key, value in arrays.items() if "_blob|" in key}
    assert {key.split("|")[0] for key in blobs} == {"keypoints_blob", "matches_blob"}
    for key, wanted in blobs.items():
        limit = 1e-3 if key.startswith("keypoints") else 0
        np.testing.assert_allclose(stored[key].astype(np.float64), wanted.astype(np.float64), rtol=0, atol=limit)


def test_file_of_poses(golden, tmp_path: Path) -> None:
    case = golden[0]
    rows = [line.split() for line in case["model_images_txt"].splitlines()[4::2]]
    queries = {line.split()[0] for line in case["queries_txt"].splitlines()}
    found = {row[9]: tuple(map(float, row[1:8])) for row in rows if row[9] in queries}
    poses = {n: Pose(v[:4], v[4:]) for n, v in zip(pose_names(list(found)), found.values(), strict=True)}
    write_poses(poses, tmp_path / "poses.txt")
    assert (tmp_path / "poses.txt").read_text() == case["pred_poses_txt"]


def test_written_models_are_read(golden, tmp_path: Path) -> None:
    """What is written here, our reader and COLMAP's both read alike."""
    import pycolmap

    case = golden[0]
    (tmp_path / "intrinsics.txt").write_text(case["intrinsics_txt"])
    cameras = read_intrinsics(tmp_path / "intrinsics.txt")
    images = [
        ModelImage(n, Pose((0.6, 0.0, 0.8, 0.0), (n, 2.0, 3.0)), n, name) for n, name in enumerate(cameras, start=1)
    ]
    write_empty_model(dict(enumerate(cameras.values(), start=1)), images, tmp_path)
    ours = read_colmap_model(tmp_path, with_points=True)
    assert ours.images == tuple(images)
    for number in (1, len(images)):
        assert number_of(number - 1) == number
    (tmp_path / "cameras.txt").write_text((tmp_path / "cameras.txt").read_text().replace(".0 ", " "))
    theirs = pycolmap.Reconstruction(tmp_path)
    for image in images:
        np.testing.assert_allclose(theirs.image(image.image_id).cam_from_world().translation, image.pose.translation)
    write_poses({"a": images[0].pose}, tmp_path / "poses.txt")
    assert read_poses(tmp_path / "poses.txt") == {"a": images[0].pose}
