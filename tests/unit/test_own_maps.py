"""Maps of the user's own that cannot be: trajectories of kapture folders, and models of COLMAP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_map import CAMERA, draw_scene

from descbench.config.posed_datasets import ColmapDataset, KaptureMapDataset
from descbench.datasets.cameras import Pose
from descbench.datasets.colmap_model import ModelImage
from descbench.datasets.kapture import read_posed_records
from descbench.datasets.own_maps import read_colmap_map, read_kapture_map
from descbench.errors import DataError
from descbench.localization.colmap import from_rigid, to_rigid, write_empty_model
from descbench.localization.triangulate import triangulate_points

SENSORS = "# kapture format: 1.1\ncam, , camera, SIMPLE_RADIAL, 640, 480, 600, 320, 240, 0.02\n"
RECORDS = "".join(f"{time}, cam, {time}.jpg\n" for time in range(4))
TRAJECTORIES = "".join(f"{time}, cam, 1, 0, 0, 0, {time}, 0, 0\n" for time in range(4))
Make = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Make:
    def make(
        sensors: str = SENSORS, records: str = RECORDS, trajectories: str | None = TRAJECTORIES, **more: str
    ) -> Path:
        (tmp_path / "sensors/records_data").mkdir(parents=True, exist_ok=True)
        tables = {"sensors": sensors, "records_camera": records, "trajectories": trajectories, **more}
        for name, text in tables.items():
            if text is not None:
                (tmp_path / f"sensors/{name}.txt").write_text(text)
        return tmp_path

    return make


def read(path: Path):
    return read_kapture_map(KaptureMapDataset(format="kapture_map", map=path))


def test_every_second_image_asks(folder: Make) -> None:
    manifest, labels, left_out = read(folder())
    assert [row.path for row in manifest.of_role("map").rows] == ["0.jpg", "2.jpg"]
    assert [pose.translation[0] for pose in labels.query_poses] == [1, 3]
    assert labels.map_cameras == (CAMERA, CAMERA)
    assert left_out == ()


def test_images_without_pose_are_no_part_of_the_map(folder: Make) -> None:
    unknown = TRAJECTORIES.replace("1, cam, 1, 0, 0, 0, 1, 0, 0", "1, cam, , , , , , ,")
    manifest, _, left_out = read(folder(trajectories=unknown))
    assert [row.path for row in manifest.rows] == ["0.jpg", "3.jpg", "2.jpg"]
    assert [(item.path, "no pose" in item.reason) for item in left_out] == [("1.jpg", True)]
    # The same pose twice tells nothing new.
    assert read(folder(trajectories=TRAJECTORIES * 2))[1].map_poses == read(folder())[1].map_poses


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("9, cam, 0.5, 0, 0, 0, 0, 0, 0", r"trajectories\.txt: line 5: .*which is not a rotation"),
        ("9, cam, 2, 0, 0, 0, 0, 0, 0", "which is not a rotation"),
        ("9, cam, 0, 0, 0, 0, 0, 0, 0", "quaternion of length 0, which is not a rotation"),
        ("9, cam, nan, 0, 0, 0, 0, 0, 0", "line 5: 'nan' is not a finite number"),
        ("9, cam, 1, 0, 0, 0, 1e999, 0, 0", "finite"),
        ("9, cam, 1, 0, 0, 0, 0, 0", "a trajectory is timestamp, device_id, qw"),
        ("9, cam, 1, 0, 0, 0, 0, 0, 0, 0", "a trajectory is timestamp"),
        ("soon, cam, 1, 0, 0, 0, 0, 0, 0", "line 5"),
        ("2, cam, 1, 0, 0, 0, 7, 0, 0", "line 5: timestamp 2 of cam has another pose in a line before; keep one"),
        ("2, cam, 0.6, 0.8, 0, 0, 2, 0, 0", "another pose"),
    ],
)
def test_trajectories_that_are_refused(folder: Make, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(folder(trajectories=f"{TRAJECTORIES}{row}\n"))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"sensors": SENSORS.replace("SIMPLE_RADIAL", "FISHBOWL")}, r"sensors\.txt: line 2: unknown camera model 'F"),
        ({"sensors": f"{SENSORS[:37]} UNKNOWN_CAMERA, 640, 480\n"}, "unknown camera model 'UNKNOWN_CAMERA'"),
        ({"sensors": SENSORS.replace(", 0.02", "")}, "4 parameters, not 3"),
        ({"records": RECORDS.replace("2.jpg", "0.jpg")}, "image '?0.jpg'? is there twice"),
        ({"records": RECORDS.replace("1.jpg", "0.jpg")}, "image '?0.jpg'? is there twice"),  # once in each half
        ({"trajectories": None}, "0 images with poses for the map"),
        ({"rigs": "rig, cam, 1, 0, 0, 0, 0, 0, 0\n"}, r"rigs\.txt: poses of rigs are not read"),
    ],
)
def test_folders_that_are_refused(folder: Make, tables: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(folder(**tables))


def test_poses_of_the_other_convention_are_refused(folder: Make, tmp_path: Path) -> None:
    """Trajectories from camera to world can be read; what the images match tells."""
    scene, chosen = draw_scene(), [0, 1, 2, 4]
    images = scene.images(chosen)

    def kept(poses: list[Pose]) -> list[Pose]:
        numbers = enumerate((*pose.rotation, *pose.translation) for pose in poses)
        lines = [f"{time}, cam, {', '.join(map(repr, map(float, row)))}\n" for time, row in numbers]
        return [pose for _, _, pose in read_posed_records(folder(trajectories="".join(lines)))[0]]

    matches = {(a, b): scene.matches(chosen[a], chosen[b]) for a in range(4) for b in range(a + 1, 4)}
    right = replace(images, poses=kept(images.poses))
    assert triangulate_points(right, matches, tmp_path / "right").num_points3D() > 50
    inverse = replace(images, poses=kept([from_rigid(to_rigid(pose).inverse()) for pose in images.poses]))
    with pytest.raises(DataError, match="camera to world"):
        triangulate_points(inverse, matches, tmp_path / "wrong")


@pytest.fixture
def model(tmp_path: Path) -> ColmapDataset:
    """A model of three images that are there."""
    poses = [Pose((1.0, 0.0, 0.0, 0.0), (float(k), 0.0, 0.0)) for k in range(3)]
    for place in ("model", "images"):
        (tmp_path / place).mkdir()
    for k in range(3):
        (tmp_path / f"images/{k}.jpg").touch()
    images = [ModelImage(k + 1, pose, 1, f"{k}.jpg") for k, pose in enumerate(poses)]
    write_empty_model({1: CAMERA}, images, tmp_path / "model")
    return ColmapDataset(format="colmap", model=tmp_path / "model", images=tmp_path / "images")


def test_models_with_a_missing_image_are_refused(model: ColmapDataset) -> None:
    assert [row.path for row in read_colmap_map(model)[0].rows] == ["0.jpg", "2.jpg", "1.jpg"]
    (model.images / "1.jpg").unlink()
    with pytest.raises(DataError, match=r"images: image '?1\.jpg'? is not there, .* put it there, or take it out"):
        read_colmap_map(model)


def test_queries_that_are_no_images_of_the_model(model: ColmapDataset, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("1.jpg\nelsewhere.jpg\n")
    with pytest.raises(DataError, match=r"q\.txt: '?elsewhere\.jpg'? is not an image of the model"):
        read_colmap_map(model.model_copy(update={"query_list": tmp_path / "q.txt"}))


def test_listed_queries_of_a_kapture_folder(folder: Make, tmp_path: Path) -> None:
    """Of one folder they are no part of the map; of a folder of queries the others are left out."""
    (tmp_path / "q.txt").write_text("3.jpg\n\n0.jpg\n")
    one = KaptureMapDataset(format="kapture_map", map=folder(), query_list=tmp_path / "q.txt")
    manifest, labels, left_out = read_kapture_map(one)
    assert [row.path for row in manifest.of_role("query").rows] == ["0.jpg", "3.jpg"]
    assert [row.path for row in manifest.of_role("map").rows] == ["1.jpg", "2.jpg"]
    assert [pose.translation[0] for pose in labels.query_poses] == [0, 3]
    assert [pose.translation[0] for pose in labels.map_poses] == [1, 2]
    assert left_out == ()
    asked = tmp_path / "asked"
    (asked / "sensors/records_data").mkdir(parents=True)
    for name, text in (("sensors", SENSORS), ("records_camera", RECORDS), ("trajectories", TRAJECTORIES)):
        (asked / f"sensors/{name}.txt").write_text(text)
    manifest, _, left_out = read_kapture_map(one.model_copy(update={"queries": asked}))
    assert [row.path for row in manifest.of_role("query").rows] == [
        f"asked/sensors/records_data/{i}.jpg" for i in (0, 3)
    ]
    assert len(manifest.of_role("map").rows) == 4
    assert [(item.path, item.reason) for item in left_out] == [(f"{i}.jpg", f"not in {tmp_path}/q.txt") for i in (1, 2)]


def test_listed_queries_may_have_no_pose(folder: Make, tmp_path: Path) -> None:
    """They are localised and not scored; without a list such an image is left out."""
    (tmp_path / "q.txt").write_text("1.jpg\n")
    unknown = TRAJECTORIES.replace("1, cam, 1, 0, 0, 0, 1, 0, 0", "1, cam, , , , , , ,")
    mapped = folder(trajectories=unknown)
    listed = KaptureMapDataset(format="kapture_map", map=mapped, query_list=tmp_path / "q.txt")
    manifest, labels, left_out = read_kapture_map(listed)
    assert [row.path for row in manifest.of_role("query").rows] == ["1.jpg"]
    assert (labels.query_poses, left_out) == ((), ())


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("1.jpg\nelsewhere.jpg\n", r"q\.txt: '?elsewhere\.jpg'? is not an image of "),
        ("", r"q\.txt: 4 images with poses for the map and 0 queries; both are needed"),
        ("0.jpg\n1.jpg\n2.jpg\n3.jpg\n", r"q\.txt: 0 images with poses for the map and 4 queries"),
        (None, r"q\.txt: no such list of queries"),
    ],
)
def test_lists_of_kapture_queries_that_are_refused(
    folder: Make, tmp_path: Path, listed: str | None, message: str
) -> None:
    if listed is not None:
        (tmp_path / "q.txt").write_text(listed)
    with pytest.raises(DataError, match=message):
        read_kapture_map(KaptureMapDataset(format="kapture_map", map=folder(), query_list=tmp_path / "q.txt"))
