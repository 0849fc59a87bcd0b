"""Maps of points and poses of queries: right, the same every time, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from drawn_map import CAMERA, Scene, draw_scene

from descbench.datasets.cameras import Camera, Pose
from descbench.datasets.colmap_model import read_colmap_model
from descbench.errors import DataError
from descbench.localization.colmap import from_rigid, number_of, to_rigid
from descbench.localization.locate import LocationSettings, correspond, locate
from descbench.localization.triangulate import TriangulationSettings, _pipeline, triangulate_points
from descbench.localization.verify_pairs import MOST_EPIPOLAR, check_convention, epipolar_errors, verify_pairs
from descbench.metrics.poses import position_error, rotation_error

MAPS, QUERY = [0, 1, 2, 4, 5], 3


@pytest.fixture(scope="module")
def scene() -> Scene:
    return draw_scene()


def all_matches(scene: Scene) -> dict[tuple[int, int], np.ndarray]:
    pairs = [(a, b) for a in range(len(MAPS)) for b in range(a + 1, len(MAPS))]
    return {(a, b): scene.matches(MAPS[a], MAPS[b]) for a, b in pairs}


@pytest.fixture(scope="module")
def model(scene: Scene, tmp_path_factory: pytest.TempPathFactory):
    return triangulate_points(scene.images(MAPS), all_matches(scene), tmp_path_factory.mktemp("map") / "model")


def point_ids(model, position: int) -> np.ndarray:
    points = model.image(number_of(position)).points2D
    return np.array([p.point3D_id if p.has_point3D() else -1 for p in points])


def test_points_are_where_they_were(scene: Scene, model) -> None:
    assert model.num_points3D() > 0.75 * len(scene.points)  # a fifth is matched wrongly
    found = np.array([point.xyz for point in model.points3D.values()])
    nearest = np.linalg.norm(found[:, None] - scene.points[None], axis=2).min(axis=1)
    assert np.median(nearest) < 0.02
    for position, image in enumerate(MAPS):
        kept = from_rigid(model.image(number_of(position)).cam_from_world())
        assert position_error(kept, scene.poses[image]) < 1e-12


@pytest.mark.parametrize("verification", ["two_view", "known_poses"])
@pytest.mark.parametrize(
    "name", [name for name, number in pycolmap.CameraModelId.__members__.items() if int(number) >= 0]
)
def test_every_camera_model_makes_a_map(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, verification: str
) -> None:
    """Points are found, and a query in them, whatever the lens."""
    made = pycolmap.Camera.create_from_model_name(0, name, 500.0, 640, 480)
    camera = Camera(name, 640, 480, tuple(map(float, made.params)))
    monkeypatch.setattr("drawn_map.CAMERA", camera)
    drawn = draw_scene()
    settings = TriangulationSettings(verification=verification)
    model = triangulate_points(drawn.images(MAPS), all_matches(drawn), tmp_path / "model", settings)
    assert model.num_points3D() > 0.75 * len(drawn.points)
    found = np.array([point.xyz for point in model.points3D.values()])
    nearest = np.linalg.norm(found[:, None] - drawn.points[None], axis=2).min(axis=1)
    assert np.median(nearest) < 0.1
    located = locate(drawn.keypoints[QUERY], drawn.points[drawn.orders[QUERY]], camera)
    assert located.inliers > 100
    assert position_error(located.pose, drawn.poses[QUERY]) < 0.05


def test_same_bytes_twice(scene: Scene, tmp_path: Path) -> None:
    for name in ("one", "two"):
        triangulate_points(scene.images(MAPS), all_matches(scene), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert "points3D.bin" in files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_our_reader_reads_what_colmap_wrote(scene: Scene, tmp_path: Path) -> None:
    made = triangulate_points(scene.images(MAPS), all_matches(scene), tmp_path / "bin")
    (tmp_path / "txt").mkdir()
    made.write_text(tmp_path / "txt")
    binary, text = (read_colmap_model(tmp_path / kind, with_points=True) for kind in ("bin", "txt"))
    assert binary.cameras == text.cameras == dict.fromkeys(range(1, len(MAPS) + 1), CAMERA)
    assert {i.name: i.points for i in binary.images} == {i.name: i.points for i in text.images}
    assert binary.points.keys() == text.points.keys() == set(made.points3D)
    for number, point in binary.points.items():
        assert point.xyz == tuple(made.point3D(number).xyz)
        assert set(point.track) == {(e.image_id, e.point2D_idx) for e in made.point3D(number).track.elements}


def test_query_is_found(scene: Scene, model) -> None:
    found = [(scene.matches(QUERY, image), point_ids(model, i)) for i, image in enumerate(MAPS)]
    pairs = correspond(found)
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    points = np.array([model.point3D(int(number)).xyz for number in pairs[:, 1]])
    located = [locate(scene.keypoints[QUERY][pairs[:, 0]], points, CAMERA) for _ in range(2)]
    assert located[0] == located[1]
    assert position_error(located[0].pose, scene.poses[QUERY]) < 0.02
    assert rotation_error(located[0].pose, scene.poses[QUERY]) < 0.1
    assert located[0].correspondences == len(pairs) > located[0].inliers > 50


def test_correspondences_come_once_in_order() -> None:
    one = np.array([[3, 0], [1, 1], [2, 2]]), np.array([7, 8, -1])
    two = np.array([[1, 0], [3, 1], [3, 2]]), np.array([8, 9, 7])
    assert correspond([one, two]).tolist() == [[3, 7], [1, 8], [3, 9]]
    assert correspond([]).shape == (0, 2)


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_points_give_no_pose(count: int) -> None:
    located = locate(np.zeros((count, 2)), np.zeros((count, 3)), CAMERA)
    assert (located.pose, located.correspondences, located.inliers) == (None, count, 0)


def test_few_inliers_give_no_pose(scene: Scene, model) -> None:
    pairs = correspond([(scene.matches(QUERY, 2, wrong=0.0), point_ids(model, 2))])
    points = np.array([model.point3D(int(number)).xyz for number in pairs[:, 1]])
    keypoints = scene.keypoints[QUERY][pairs[:, 0]]
    assert locate(keypoints, points, CAMERA, LocationSettings(min_inliers=len(pairs) + 1)).pose is None
    assert locate(keypoints, points, CAMERA, LocationSettings(min_inliers=4)).pose is not None
    strict = locate(keypoints, points, CAMERA, LocationSettings(max_error=0.2))
    assert strict.inliers < locate(keypoints, points, CAMERA).inliers


def test_poses_of_the_other_convention_are_refused(scene: Scene, tmp_path: Path) -> None:
    images = scene.images(MAPS)
    inverse = [from_rigid(to_rigid(pose).inverse()) for pose in images.poses]
    with pytest.raises(DataError, match="camera to world"):
        triangulate_points(replace(images, poses=inverse), all_matches(scene), tmp_path / "model")
    assert not (tmp_path / "model" / "points3D.bin").exists()


def test_camera_centres_in_the_place_of_translations_are_refused(scene: Scene, tmp_path: Path) -> None:
    """The advice is what makes these poses right; the inverse, which fits no better, is not advised."""
    images = scene.images(MAPS)
    centres = [replace(pose, translation=tuple(map(float, pose.centre))) for pose in images.poses]
    with pytest.raises(DataError, match=r"if the translations are camera centres: .*\(R and -R t of each\)") as refused:
        triangulate_points(replace(images, poses=centres), all_matches(scene), tmp_path / "model")
    assert "camera to world" not in str(refused.value)


def test_an_inverse_that_fits_better_and_not_well_is_not_advised(scene: Scene, tmp_path: Path) -> None:
    """Poses of camera to world that are noisy besides: inverting them would give other wrong ones."""
    images = scene.images(MAPS)
    noisy = []
    for number, pose in enumerate(images.poses):
        turn = pycolmap.Rotation3d(np.array([0.03 * (-1) ** number, 0.02, 0.03 * (number % 3 - 1)]))
        noisy.append(from_rigid((pycolmap.Rigid3d(turn, np.zeros(3)) * to_rigid(pose)).inverse()))
    inverse = replace(images, poses=[from_rigid(to_rigid(pose).inverse()) for pose in noisy])
    given, other = (
        np.median(
            np.concatenate([epipolar_errors(found, pair, rows)[:, 1] for pair, rows in all_matches(scene).items()])
        )
        for found in (replace(images, poses=noisy), inverse)
    )
    assert MOST_EPIPOLAR < other < given / 2
    with pytest.raises(DataError, match="contradict") as refused:
        triangulate_points(replace(images, poses=noisy), all_matches(scene), tmp_path / "model")
    assert "camera to world" not in str(refused.value)


def test_poses_of_other_images_are_refused(scene: Scene, tmp_path: Path) -> None:
    images = scene.images(MAPS)
    others = [*images.poses[2:], *images.poses[:2]]
    with pytest.raises(DataError, match="contradict"):
        triangulate_points(replace(images, poses=others), all_matches(scene), tmp_path / "model")


def test_a_match_must_be_near_both_lines(scene: Scene, tmp_path: Path) -> None:
    """Between the distances from its two lines, in either order, lies a limit that it does not keep to."""
    images, pair = scene.images(MAPS), (0, 4)
    rows = all_matches(scene)[pair]
    errors = epipolar_errors(images, pair, rows)
    for side in (0, 1):
        row = int(np.argmax(errors[:, side] - errors[:, 1 - side]))
        assert errors[row, side] > errors[row, 1 - side]
        given = {"verification": "known_poses", "verify_error": float(errors[row].mean()), "min_inliers": 1}
        found = verify_pairs(images, {pair: rows}, tmp_path / f"{side}.db", **given)[pair]
        assert rows[row].tolist() not in found.tolist()
        assert len(found) == (errors <= given["verify_error"]).all(axis=1).sum()


def test_few_pairs_do_not_accuse_the_poses(scene: Scene, tmp_path: Path, caplog) -> None:
    """A pair alone may have a wrong geometry; the other convention is known from it all the same."""
    images, pair = scene.images(MAPS), (0, 1)
    rows = all_matches(scene)[pair]
    moved = replace(images, poses=[*images.poses[2:], *images.poses[:2]])
    check_convention(moved, {pair: rows})
    assert f"contradict {len(rows)} verified matches" in caplog.text
    assert "That is of 1 pairs, whose matches may be wrong" in caplog.text
    with pytest.raises(DataError, match="contradict"):
        check_convention(moved, {(0, other): all_matches(scene)[0, other] for other in (1, 2, 3)})
    right = scene.matches(MAPS[0], MAPS[1], wrong=0.0)
    inverse = replace(images, poses=[from_rigid(to_rigid(pose).inverse()) for pose in images.poses])
    with pytest.raises(DataError, match="camera to world"):
        check_convention(inverse, {pair: right})


def test_without_verified_pairs_the_model_has_no_points(scene: Scene, tmp_path: Path, caplog) -> None:
    images = scene.images(MAPS)
    few = ({}, {(0, 1): np.zeros((0, 2), np.int64)}, {(0, 1): np.array([[0, 0], [1, 1]])})
    for number, matches in enumerate(few):
        caplog.clear()
        made = triangulate_points(images, matches, tmp_path / str(number))
        assert "none of" in caplog.text
        read = pycolmap.Reconstruction(tmp_path / str(number))
        assert (read.num_images(), read.num_points3D()) == (made.num_images(), 0) == (len(MAPS), 0)
        assert {read.image(n).name for n in read.reg_image_ids()} == set(images.names)


def test_two_images_of_one_name_are_refused(scene: Scene, tmp_path: Path) -> None:
    images = scene.images(MAPS)
    twice = replace(images, names=[images.names[0], *images.names[:-1]])
    with pytest.raises(DataError, match="COLMAP refuses"):
        triangulate_points(twice, all_matches(scene), tmp_path / "model")


def test_settings_decide(scene: Scene, tmp_path: Path) -> None:
    images, matches = scene.images(MAPS), all_matches(scene)
    usual = triangulate_points(images, matches, tmp_path / "usual")
    for number, settings in enumerate(
        (
            TriangulationSettings(verify_error=0.3),
            TriangulationSettings(reprojection_error=0.2),
            TriangulationSettings(min_angle=12.0),
        )
    ):
        other = triangulate_points(images, matches, tmp_path / str(number), settings)
        assert other.compute_num_observations() < usual.compute_num_observations()
    none = triangulate_points(images, matches, tmp_path / "none", TriangulationSettings(min_inliers=1000))
    assert not none.num_points3D()


def test_known_poses_verify(scene: Scene, tmp_path: Path, caplog) -> None:
    """Every match within the limit of both epipolar lines, and no other, takes part."""
    images, matches = scene.images(MAPS), all_matches(scene)
    found = verify_pairs(images, matches, tmp_path / "database.db", verification="known_poses", verify_error=2.0)
    for (first, second), rows in matches.items():
        rotations = [np.array(images.poses[image].matrix) for image in (first, second)]
        places = [np.array(images.poses[image].translation) for image in (first, second)]
        turn = rotations[1] @ rotations[0].T
        shift = places[1] - turn @ places[0]
        camera = pycolmap.Camera(model=CAMERA.model, width=1, height=1, params=list(CAMERA.params))
        plane = [camera.cam_from_img(np.array(images.keypoints[i], float)) for i in (first, second)]
        kept = []
        for a, b in rows:
            one, other = np.array([*plane[0][a], 1]), np.array([*plane[1][b], 1])
            line = np.cross(shift, turn @ one)  # of the first keypoint in the second image
            back = turn.T @ np.cross(other, shift)
            product = abs(other @ line)
            errors = [camera.mean_focal_length() * product / np.hypot(*side[:2]) for side in (back, line)]
            if max(errors) <= 2.0:
                kept.append([a, b])
        np.testing.assert_array_equal(found[first, second], kept)
        assert 0 < len(kept) < len(rows)
    settings = TriangulationSettings(verification="known_poses", verify_error=2.0)
    model = triangulate_points(images, matches, tmp_path / "model", settings)
    assert model.num_points3D() > 0.75 * len(scene.points)
    others = replace(images, poses=[*images.poses[2:], *images.poses[:2]])
    with pytest.raises(DataError, match="contradict"):
        triangulate_points(others, matches, tmp_path / "others", settings)
    assert not triangulate_points(
        images, matches, tmp_path / "none", replace(settings, min_inliers=1000)
    ).num_points3D()
    assert "1000 matches that the known poses explain" in caplog.text
    # The order of a pair's images decides nothing.
    turned = {(second, first): rows[:, ::-1] for (first, second), rows in matches.items()}
    again = verify_pairs(images, turned, tmp_path / "turned.db", verification="known_poses", verify_error=2.0)
    assert {pair: rows.tolist() for pair, rows in again.items()} == {p: rows.tolist() for p, rows in found.items()}


def test_points_of_two_images_are_kept_or_left_out(scene: Scene, tmp_path: Path) -> None:
    """Half of the points are matched in the first pair alone."""
    given = all_matches(scene)
    matches = {pair: rows if pair == (0, 1) else rows[: len(rows) // 2] for pair, rows in given.items()}
    seen = []
    for kept in (True, False):
        settings = TriangulationSettings(two_view_points=kept)
        model = triangulate_points(scene.images(MAPS), matches, tmp_path / str(kept), settings)
        seen.append([len(point.track.elements) for point in model.points3D.values()])
    assert min(seen[0]) == 2
    assert min(seen[1]) == 3
    assert len(seen[1]) == sum(count > 2 for count in seen[0])


def test_one_key_sets_what_is_removed_at_the_end_alone() -> None:
    """As the original's `filter_max_reproj_error`; COLMAP's limits while points are completed and merged stay."""
    usual, wide = pycolmap.IncrementalPipelineOptions(), _pipeline(TriangulationSettings(reprojection_error=12.0))
    assert wide.mapper.filter_max_reproj_error == 12.0
    for name in ("complete_max_reproj_error", "merge_max_reproj_error"):
        assert getattr(wide.triangulation, name) == getattr(usual.triangulation, name)


def test_rotation_in_and_out() -> None:
    pose = Pose((0.5, -0.5, 0.5, 0.5), (1.0, 2.0, 3.0))
    assert from_rigid(to_rigid(pose)) == pose
    np.testing.assert_allclose(to_rigid(pose).rotation.matrix(), pose.matrix, atol=1e-15)
    np.testing.assert_allclose(-to_rigid(pose).rotation.matrix().T @ pose.translation, pose.centre, atol=1e-15)
