"""Keypoints of real photographs: a homography that is known, and buildings that are found again by visual words."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from descbench.config.keypoint_features import KeypointFeatures
from descbench.config.method_base import Codebook
from descbench.config.methods import BowMethod
from descbench.datasets.manifest import Manifest, read_manifest, rows_of, write_manifest
from descbench.features.extract import extract_features
from descbench.features.images import load_image
from descbench.features.keypoint_features import keypoint_extractor
from descbench.features.shards import ShardSpec
from descbench.neighbours.mutual_nearest import mutual_nearest_neighbours
from descbench.retrieval.codebook import train_codebook
from descbench.retrieval.ranking import read_ranking
from descbench.retrieval.run_search import run_search
from workplaces import Workplace

BUILDINGS = ("fountain-P11", "Herz-Jesus-P8")


def settings_of(**options):
    return KeypointFeatures(kind="keypoints", describe="rootsift", **options)


@pytest.mark.parametrize(("detector", "share"), [("sift", 0.5), ("hessian", 0.3)])
def test_matches_of_the_graffiti_give_its_homography(real_data: Path, detector, share):
    """Estimated robustly from mutual nearest descriptors of the first two photographs."""
    folder = real_data / "vgg_graf"
    describe = keypoint_extractor({}, settings_of(detector=detector, max_features=1500), device="cpu").describe
    one, two = (describe(load_image(folder / f"img{n}.png", 1024), f"img{n}.png") for n in (1, 2))
    pairs, _ = mutual_nearest_neighbours(one.descriptors, two.descriptors)
    # Places in the store have the middle of the first pixel at 0.5, the homography at 0.
    points, others = one.keypoints[pairs[:, 0]] - 0.5, two.keypoints[pairs[:, 1]] - 0.5
    cv2.setRNGSeed(0)
    found, inliers = cv2.findHomography(points, others, cv2.USAC_MAGSAC, 3.0)
    assert inliers.mean() > share
    height, width = load_image(folder / "img1.png", 1024).pixels.shape[:2]
    corners = np.array([[[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]], np.float64)
    true = np.loadtxt(folder / "H1to2p")
    off = np.linalg.norm(cv2.perspectiveTransform(corners, found) - cv2.perspectiveTransform(corners, true), axis=2)
    assert off.mean() < 5


def test_a_building_retrieves_its_own_views_first(real_data: Path, tmp_path: Path):
    """All photographs of two buildings are database and queries; words are learned from themselves."""
    root = real_data / "strecha"
    paths = [f"{name}/images/{path.name}" for name in BUILDINGS for path in sorted((root / name / "images").iterdir())]
    write_manifest(Manifest(tuple(rows_of("database", paths))), tmp_path / "buildings.csv")
    listed = ShardSpec.read(tmp_path / "buildings.csv", "database", 0, len(paths), features="f" * 64)
    settings, shard = settings_of(max_features=1000, image_size=640), tmp_path / "buildings.h5"
    extract_features(listed, root, {}, settings, shard, device="cpu", workers=0)
    train_codebook([shard], tmp_path / "codebook.h5", n=1000, images=None, size=4000)
    block = {"features": "x", "codebook": Codebook(features="x", dataset="x", size=4000)}
    method = BowMethod(search="bow", n=1000, top_k=len(paths), **block)
    files = {"codebook": tmp_path / "codebook.h5", "num_queries": len(paths)}
    run_search(method, [shard], [shard], tmp_path, tmp_path / "ranking.h5", **files)
    building = np.array([BUILDINGS.index(path.split("/")[0]) for path in paths])
    ranking = read_ranking(tmp_path / "ranking.h5")
    shares = []
    for query, images in zip(ranking.query_ids, ranking.image_ids, strict=True):
        assert images[0] == query
        own = building[images[1:]] == building[query]
        # The views beside it, and most of those from far to the side, before any of the other building.
        assert own[:3].all()
        shares.append(own[: own.sum()].mean())
    assert np.mean(shares) > 0.85


def test_all_views_of_a_building_come_first_after_expansion(real_data: Path, project: Path, tmp_path: Path):
    """Bags of words, verification and query expansion by the workflow, for each photograph of two buildings.

    Bags of words alone, and verified ones, begin with views of the same building, but not with all of them.
    """
    (tmp_path / "photographs").mkdir()
    for name in BUILDINGS:
        for path in (real_data / "strecha" / name / "images").iterdir():
            (tmp_path / f"photographs/{name}_{path.name}").symlink_to(path)
    codebook = {"dataset": "buildings", "role": "database", "images": None, "size": 4000}
    blocks = {
        "datasets": {"buildings": {"format": "folder", "database": "photographs"}},
        "features": {"points": {"kind": "keypoints", "describe": "rootsift", "max_features": 1000, "image_size": 640}},
        "methods": {
            "bags": {"search": "bow", "features": "points", "n": 1000, "codebook": codebook},
            "verified": {"search": "verify", "ranking": "bags"},
            "expanded": {"search": "expand", "ranking": "verified"},
        },
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(blocks))
    targets = [f"results/rankings/{method}/buildings.h5" for method in ("bags", "verified", "expanded")]
    Workplace(tmp_path, project).run("--cores", "1", *targets, config="mine.yaml")
    rows = read_manifest(tmp_path / "results/manifests/buildings.csv").of_role("database").rows
    building = np.array([row.path.split("_")[0] for row in rows])
    for target in targets:
        ranking = read_ranking(tmp_path / target)
        for query, images in zip(ranking.query_ids, ranking.image_ids, strict=True):
            own = building[images] == building[query]
            assert own[:3].all()
            assert own[: own.sum()].all() or "expanded" not in target
