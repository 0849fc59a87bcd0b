"""Toytown: deterministic, in official layouts, with labels that follow from its geometry."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from descbench.config.datasets import DbStructDataset
from descbench.config.toytown import Streets, StreetSplit, Toytown
from descbench.datasets.dbstruct import read_dbstruct
from descbench.datasets.sfm120k import image_path
from descbench.datasets.toytown.draw import draw_toytown
from descbench.datasets.toytown.geometry import MeshBuilder, look_at
from descbench.datasets.toytown.render import Atlas, render
from descbench.datasets.toytown.seeds import rng_for
from descbench.datasets.toytown.streets import SPLITS, count_buildings, plan_streets
from descbench.datasets.toytown.textures import plain
from descbench.datasets.toytown.town import add_box, build_town
from descbench.datasets.toytown.views import draw_light, take_view

FEW = StreetSplit(panoramas=8, queries=4)
STREETS = Streets(width=80, height=60, yaws=2, train=FEW, val=FEW, test=StreetSplit(panoramas=9, queries=5))
SMALL = Toytown(
    width=96, height=72, cities=("ham",), landmarks_per_city=3, database_per_city=12, queries_per_city=3,
    clusters=6, images_per_cluster=4, streets=STREETS,
)  # fmt: skip


@pytest.fixture(scope="module")
def town_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("toytown")
    draw_toytown(SMALL, folder / "toytown", folder / "toytown.json")
    return folder


@pytest.fixture(scope="module")
def truth(town_folder):
    with open(town_folder / "toytown/test/ham/gnd_ham.pkl", "rb") as stream:
        return pickle.load(stream)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_bytes_whatever_the_number_of_processes(town_folder, tmp_path):
    leftover = tmp_path / "toytown" / "half-drawn.jpg"
    leftover.parent.mkdir()
    leftover.write_bytes(b"from a killed run")
    draw_toytown(SMALL, tmp_path / "toytown", tmp_path / "toytown.json", processes=2)
    assert contents(tmp_path) == contents(town_folder)


def test_another_seed_draws_another_town(town_folder, tmp_path):
    few = SMALL.model_copy(update={"seed": 1, "streets": None})
    draw_toytown(few, tmp_path / "toytown", tmp_path / "toytown.json")
    drawn = contents(tmp_path)
    assert not any("streets" in name for name in drawn)
    assert not set(drawn.values()) & set(contents(town_folder).values())
    assert plan_streets(STREETS, 0, "val") != plan_streets(STREETS, 1, "val")


def test_revisited_layout(town_folder, truth):
    folder = town_folder / "toytown/test/ham/jpg"
    assert len(truth["imlist"]) == 12
    assert len(truth["qimlist"]) == len(truth["gnd"]) == 3
    assert not set(truth["imlist"]) & set(truth["qimlist"])
    images = [(folder / f"{name}.jpg") for name in (*truth["imlist"], *truth["qimlist"])]
    for path in images:
        with Image.open(path) as image:
            assert image.size == (96, 72)
            assert image.mode == "RGB"
    assert len({path.read_bytes() for path in images}) == len(images)


def test_labels_are_disjoint_and_within_the_database(truth):
    for labels in truth["gnd"]:
        ids = [i for key in ("easy", "hard", "junk") for i in labels[key]]
        assert len(ids) == len(set(ids))
        assert all(type(i) is int and 0 <= i < 12 for i in ids)
        assert labels["easy"] + labels["hard"], "a query without any positive"
        x1, y1, x2, y2 = labels["bbx"]
        assert 0 <= x1 < x2 <= 96
        assert 0 <= y1 < y2 <= 72


def test_sfm_layout(town_folder):
    folder = town_folder / "toytown/train/retrieval-SfM-120k"
    splits = pickle.loads((folder / "retrieval-SfM-120k.pkl").read_bytes())
    assert len(splits["train"]["cids"]) == 20
    assert len(splits["val"]["cids"]) == 4
    assert not set(splits["train"]["cluster"]) & set(splits["val"]["cluster"])
    for split in splits.values():
        for query, positive in zip(split["qidxs"], split["pidxs"], strict=True):
            assert query != positive
            assert split["cluster"][query] == split["cluster"][positive]
        assert all((folder / "ims" / image_path(cid)).is_file() for cid in split["cids"])
    val = pickle.loads((folder / "retrieval-SfM-120k-val-eccv2020.pkl").read_bytes())
    assert val["cids"] == splits["val"]["cids"]
    for query, labels in zip(val["qidx"], val["gnd"], strict=True):
        assert labels["junk"] == [query]
        assert query not in labels["ok"]


def read_split(town_folder, split):
    dataset = DbStructDataset(
        format="dbstruct",
        struct=f"toytown/streets/datasets/toytown_{split}.mat",
        images="toytown/streets",
        queries="toytown/streets/queries_real",
    )
    return read_dbstruct(dataset, town_folder)


@pytest.mark.parametrize("split", SPLITS)
def test_streets_are_read_as_pittsburgh_is(town_folder, split):
    manifest, labels = read_split(town_folder, split)
    sizes = getattr(STREETS, split)
    assert len(manifest.of_role("database")) == 2 * sizes.panoramas
    assert len(manifest.of_role("query")) == sizes.queries
    for row in manifest.rows:
        with Image.open(town_folder / row.path) as image:
            assert image.size == (80, 60)
    assert labels.radius == 25
    # The last one was taken where the car never was.
    assert all(labels.training_positives[:-1])
    assert not labels.positives[-1]


def test_the_struct_is_stored_as_in_the_original(town_folder):
    golden = Path(__file__).parents[1] / "golden/data/vpr_datasets/pitts30k_mini_val.mat"
    drawn = town_folder / "toytown/streets/datasets/toytown_val.mat"
    ours, theirs = (loadmat(path, mat_dtype=True)["dbStruct"] for path in (drawn, golden))
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape == (1, 1)
    for name in ours.dtype.names:
        a, b = ours[name].item(), theirs[name].item()
        assert (a.dtype, a.ndim, a.shape[:1] == (2,)) == (b.dtype, b.ndim, b.shape[:1] == (2,)), name
        if a.dtype == object:
            assert a.shape[1] == b.shape[1] == 1
            assert a[0, 0].shape == b[0, 0].shape == (1,)
    assert ours["whichSet"].item() == "val"
    assert ours["dbImageFns"].item()[1, 0].item() == "001/001000_pitch1_yaw2.jpg"
    assert ours["posDistThr"].item() == 25
    # Neither a date nor a machine, which would make other bytes every time.
    assert drawn.read_bytes()[:116].rstrip() == b"MATLAB 5.0 MAT-file, drawn by descbench"


def test_splits_of_the_streets_share_nothing(town_folder):
    files = [town_folder / row.path for split in SPLITS for row in read_split(town_folder, split)[0].rows]
    assert len({path.read_bytes() for path in files}) == len(set(files)) == len(files)
    towns = [build_town(0, f"streets of {split}", 4) for split in SPLITS]
    assert len({town.atlas[1].tobytes() for town in towns}) == len(SPLITS)


def test_street_cameras_stand_in_the_open_and_within_reach():
    settings = Streets()
    for seed in range(2):
        town = build_town(seed, "streets of test", count_buildings(settings.test.panoramas))
        database, queries = plan_streets(settings, seed, "test")
        assert (len(database), len(queries)) == (36 * 4, 40)
        assert not any(town.inside(point.place, 0.8) for point in (*database, *queries))
        places = np.array([point.place for point in database])
        distances = np.array([np.linalg.norm(places - point.place, axis=1) for point in queries])
        assert (distances.min(axis=1)[:-2] < 10).all()
        assert (distances.min(axis=1)[-2:] > 25).all()
        assert 0.05 < (distances <= 25).mean() < 0.15, "share of the database that is right by chance"


def test_pictures_are_no_noise(town_folder):
    for path in sorted((town_folder / "toytown").rglob("*.jpg")):
        grey = np.asarray(Image.open(path).convert("L"), float)
        neighbours = np.corrcoef(grey[:, :-1].ravel(), grey[:, 1:].ravel())[0, 1]
        assert neighbours > 0.7
        assert grey.std() > 10


def wall_scene(distance, colour, builder=None, owner=1):
    builder = builder or MeshBuilder()
    builder.place(owner, 0.0, (0.0, distance), colour)
    add_box(builder, (-2, 0, 0), (2, 1, 3), [0] * 5)
    return builder


def test_a_wall_stands_where_the_pinhole_model_says():
    atlas = Atlas((plain((1, 1, 1), rng_for("white")),))
    camera = look_at(np.array([0.0, 0.0, 1.5]), np.array([0.0, 1.0, 1.5]), np.deg2rad(60), 160, 120)
    picture = render(wall_scene(10.0, (1, 1, 1)).build(), atlas, camera, draw_light(rng_for(0), False), rng_for(1))
    rows, columns = np.nonzero(picture.owner == 1)
    corners, depths = camera.project(np.array([[-2.0, 10, 0], [2.0, 10, 3]]))
    assert abs(columns.min() - corners[0, 0]) < 1
    assert abs(columns.max() + 1 - corners[1, 0]) < 1
    assert abs(rows.max() + 1 - corners[0, 1]) < 1
    np.testing.assert_allclose(picture.depth[picture.owner == 1], depths[0], rtol=1e-5)


def test_the_nearer_wall_hides_the_farther():
    atlas = Atlas((plain((1, 1, 1), rng_for("white")),))
    builder = wall_scene(20.0, (0, 0, 1), owner=1)
    mesh = wall_scene(8.0, (1, 0, 0), builder, owner=2).build()
    camera = look_at(np.array([0.0, 0.0, 1.5]), np.array([0.0, 1.0, 1.5]), np.deg2rad(60), 80, 60)
    picture = render(mesh, atlas, camera, draw_light(rng_for(0), False), rng_for(1))
    assert picture.owner[30, 40] == 2
    assert (picture.owner == 1).sum() == 0


def test_dusk_is_darker_than_day():
    town = build_town(0, "ham", 4)
    atlas = Atlas(town.atlas)
    by_light: dict[bool, list[float]] = {True: [], False: []}
    for number in range(14):
        view = take_view(town, atlas, town.buildings[number % 4], 64, 48, rng_for("dusk", number), False)
        by_light[view.pose.dusk].append(view.pixels.mean())
    assert by_light[True]
    assert by_light[False]
    assert max(np.mean(by_light[True]), 1) < 0.75 * np.mean(by_light[False])


def test_no_camera_stands_in_a_building():
    town = build_town(0, "ham", 4)
    atlas = Atlas(town.atlas)
    for number in range(6):
        view = take_view(town, atlas, town.buildings[number % 4], 64, 48, rng_for("stand", number), False)
        assert not town.inside(view.pose.camera.centre[:2], 0.0)
