"""Real photographs with true cameras: SIFT localises them; poses of the other convention are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from real_r2d2 import real_r2d2

from descbench.config.features import Features
from descbench.config.posed_datasets import ColmapDataset
from descbench.datasets.build import build_manifest
from descbench.datasets.colmap_model import read_colmap_model
from descbench.datasets.kapture import read_posed_records
from descbench.datasets.manifest import read_manifest
from descbench.datasets.pose_labels import read_pose_labels, write_pose_labels
from descbench.errors import DataError
from descbench.features.extract import extract_features
from descbench.features.shards import ShardSpec
from descbench.localization.colmap import from_rigid, to_rigid
from descbench.localization.localise_queries import MapFiles, localise_queries
from descbench.localization.locate import LocationSettings
from descbench.localization.match_images import match_images
from descbench.localization.reconstruct import reconstruct
from descbench.localization.select_pairs import select_pairs
from descbench.localization.triangulate import TriangulationSettings
from descbench.matching.matcher import MatchSettings
from descbench.metrics.score_poses import score_poses
from descbench.metrics.scores import read_scores

SIFT = {"kind": "keypoints", "describe": "rootsift", "image_size": 1536, "max_features": 2500}
SCENES = ("fountain-P11", "Herz-Jesus-P8")
# Medians in metres and degrees that a right localisation stays below (README of the folder), and the largest errors.
LIMITS = {"fountain-P11": (0.010, 0.05), "Herz-Jesus-P8": (0.020, 0.05)}


def matched(real_data: Path, name: str, folder: Path, settings: Features, matching: MatchSettings, **how: Any) -> Path:
    """A folder with everything up to the matches: even images are the map, odd ones ask."""
    source = real_data / "strecha" / name
    if not source.is_dir():
        pytest.skip(f"no {source}: not shipped, see docs/contributing.md")
    dataset = ColmapDataset(format="colmap", model=source / "colmap", images=source / "images")
    build_manifest(name, dataset, folder, folder / "m.csv", folder / "gt.json", folder / "left.json")
    networks = how.pop("networks", {})
    for role in ("map", "query"):
        shard = ShardSpec(read_manifest(folder / "m.csv"), "m.csv", role, 0, None, "sift")
        extract_features(shard, source / "images", networks, settings, folder / f"{role}.h5", device="cpu", **how)
    select_pairs(folder / "gt.json", folder / "pairs.csv")
    for role in ("map", "query"):
        shards = [folder / f"{role}.h5"], [folder / "map.h5"]
        match_images(*shards, folder / "pairs.csv", folder / f"{role}-m.h5", matching, role=role)
    return folder


@pytest.fixture(scope="module", params=SCENES)
def scene(request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything up to the matches, by SIFT."""
    settings = TypeAdapter(Features).validate_python(SIFT)
    return matched(real_data, request.param, tmp_path_factory.mktemp(request.param), settings, MatchSettings(ratio=0.8))


def localise(scene: Path, labels: Path, out: Path, origin: str = "corner") -> None:
    files = MapFiles(out / "model", out / "model.json")
    reconstruct(
        scene / "m.csv",
        labels,
        [scene / "map.h5"],
        scene / "map-m.h5",
        files.folder,
        files.record,
        TriangulationSettings(),
        origin=origin,
    )
    localise_queries(
        scene / "m.csv",
        labels,
        [scene / "query.h5"],
        scene / "query-m.h5",
        files,
        out / "poses.txt",
        LocationSettings(),
        origin=origin,
    )
    score_poses(out / "poses.txt", labels, scene / "m.csv", out / "scores.json")


def check_bar(scene: Path, name: str, out: Path) -> None:
    """All queries are near, and half of them within the limits of the scene."""
    localise(scene, scene / "gt.json", out)
    metrics = read_scores(out / "scores.json").metrics
    assert metrics["median_position"].value < LIMITS[name][0]
    assert metrics["median_rotation"].value < LIMITS[name][1]
    assert metrics["within_0.25m_2deg"].value == 1.0


def test_sift_localises_real_photographs(scene: Path, tmp_path: Path) -> None:
    check_bar(scene, next(name for name in LIMITS if name in scene.name), tmp_path)


@pytest.mark.slow
def test_r2d2_localises_real_photographs(real_data: Path, tmp_path: Path) -> None:
    """Its published weights, in images of half the size, without a ratio test."""
    network = real_r2d2(real_data, tmp_path)
    name = SCENES[0]
    how = {"networks": network.networks, "backend": network.backend, "workers": 0}
    scene = matched(real_data, name, tmp_path, network.features(768, 2000), MatchSettings(), **how)
    check_bar(scene, name, tmp_path)


def test_half_a_pixel_costs_accuracy_not_success(scene: Path, tmp_path: Path) -> None:
    localise(scene, scene / "gt.json", tmp_path, origin="centre")
    assert read_scores(tmp_path / "scores.json").metrics["within_0.25m_2deg"].value == 1.0


def test_the_other_convention_is_refused(scene: Path, tmp_path: Path) -> None:
    labels = read_pose_labels(scene / "gt.json")
    inverse = tuple(from_rigid(to_rigid(pose).inverse()) for pose in labels.map_poses)
    write_pose_labels(replace(labels, map_poses=inverse), tmp_path / "gt.json")
    with pytest.raises(DataError, match="camera to world"):
        localise(scene, tmp_path / "gt.json", tmp_path)


def test_model_and_poses_say_the_same(scene: Path, real_data: Path) -> None:
    """COLMAP's text model has the poses of poses.json, and principal points half a pixel further."""
    import json

    name = next(name for name in SCENES if name in scene.name)
    true = json.loads((real_data / "strecha" / name / "poses.json").read_text())["images"]
    labels, manifest = read_pose_labels(scene / "gt.json"), read_manifest(scene / "m.csv")
    for role, cameras, poses in (
        ("map", labels.map_cameras, labels.map_poses),
        ("query", labels.query_cameras, labels.query_poses),
    ):
        for row, camera, pose in zip(manifest.of_role(role).rows, cameras, poses, strict=True):
            np.testing.assert_allclose(pose.centre, np.ravel(true[row.path]["C"]), atol=1e-6)
            K = np.array(true[row.path]["K"])
            np.testing.assert_allclose(camera.params, (K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5), atol=1e-9)


def test_kapture_and_colmap_say_the_same(real_data: Path) -> None:
    """One facade in both formats: the same poses of the same images, and the same points."""
    folder = real_data / "kapture_maupertuis"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: not shipped, see docs/contributing.md")
    model = read_colmap_model(folder / "colmap/reconstruction", with_points=True)
    kapture = {name: (camera, pose) for name, camera, pose in read_posed_records(folder / "kapture")[0]}
    assert kapture.keys() == {image.name for image in model.images}
    for image in model.images:
        assert kapture[image.name] == (model.cameras[image.camera_id], image.pose)
    lines = (folder / "kapture/reconstruction/points3d.txt").read_text().splitlines()
    rows = [tuple(map(float, line.split(",")[:3])) for line in lines if not line.startswith("#")]
    assert sorted(rows) == sorted(point.xyz for point in model.points.values())
