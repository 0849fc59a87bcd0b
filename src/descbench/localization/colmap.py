"""What goes to pycolmap and comes from it: cameras, poses, databases, models without points.

Definition: docs/protocols/localization.md, Database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from descbench.datasets.cameras import Camera, Pose
from descbench.datasets.colmap_model import ModelImage
from descbench.errors import DataError
from descbench.io.atomic import is_disk_full, write_text

_COLUMNS = 4  # of keypoints in a database: x, y and an affine shape that nothing here has


@dataclass(frozen=True)
class PosedImages:
    """Images of a map.

    Attributes:
        names: of each.
        cameras: of each.
        poses: of each.
        keypoints: (n, 2) float32 of each, x and y in pixels; the corner of the first pixel is (0, 0).
    """

    names: Sequence[str]
    cameras: Sequence[Camera]
    poses: Sequence[Pose]
    keypoints: Sequence[np.ndarray]


@contextmanager
def refusing_errors(what: str) -> Iterator[None]:
    """Word what pycolmap raises as an error of ours."""
    level, pycolmap.logging.minloglevel = pycolmap.logging.minloglevel, int(pycolmap.logging.ERROR.value)
    try:
        yield
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if is_disk_full(error):
            raise
        raise DataError(f"{what}: COLMAP refuses it ({str(error).splitlines()[0][:200]}).") from error
    finally:
        pycolmap.logging.minloglevel = level


def to_camera(camera: Camera, number: int) -> pycolmap.Camera:
    """The camera under a number of COLMAP's."""
    return pycolmap.Camera(
        camera_id=number,
        model=camera.model,
        width=camera.width,
        height=camera.height,
        params=list(camera.params),
    )


def to_rigid(pose: Pose) -> pycolmap.Rigid3d:
    """World to camera; the quaternion is normalised."""
    w, x, y, z = np.array(pose.rotation) / np.linalg.norm(pose.rotation)
    return pycolmap.Rigid3d(pycolmap.Rotation3d(np.array([x, y, z, w])), np.array(pose.translation))


def from_rigid(rigid: pycolmap.Rigid3d) -> Pose:
    """World to camera; pycolmap has x, y, z before w."""
    x, y, z, w = map(float, rigid.rotation.quat)
    return Pose((w, x, y, z), tuple(map(float, rigid.translation)))


def number_of(image: int) -> int:
    """COLMAP's number of a map image, camera, rig and frame: COLMAP counts from 1."""
    return image + 1


def padded_keypoints(points: np.ndarray) -> np.ndarray:
    """(n, 4) float32 of (n, 2): x, y, 0, 0."""
    padded = np.zeros((len(points), _COLUMNS), np.float32)
    padded[:, :2] = points
    return padded


def ordered_matches(first: int, second: int, indices: np.ndarray) -> np.ndarray:
    """(m, 2) uint32, the column of the image with the smaller number first, as a database keeps them."""
    swapped = indices[:, ::-1] if first > second else indices
    return np.ascontiguousarray(swapped, np.uint32)


def write_database(
    path: Path,
    images: Mapping[int, tuple[str, Camera]],
    keypoints: Mapping[int, np.ndarray],
    matches: Mapping[tuple[int, int], np.ndarray],
) -> None:
    """Make a database with a rig and a frame for each image.

    Args:
        path: the file, which must not be there.
        images: name and camera by COLMAP's number.
        keypoints: (n, 2) by number; the corner of the first pixel is (0, 0).
        matches: (m, 2) by two numbers, keypoints of the first and of the second image.

    Raises:
        DataError: COLMAP refuses something, such as two images of one name.
    """
    with refusing_errors(str(path)), pycolmap.Database.open(path) as database:
        for number, (name, camera) in images.items():
            _write_image(database, number, name, camera)
            if number in keypoints:
                database.write_keypoints(number, padded_keypoints(keypoints[number]))
        for (first, second), indices in matches.items():
            low, high = sorted((first, second))
            database.write_matches(low, high, ordered_matches(first, second, indices))


def _write_image(database: pycolmap.Database, number: int, name: str, camera: Camera) -> None:
    made = to_camera(camera, number)
    # Two views whose focal lengths count as guesses are compared as those of pinholes, which these cameras are not.
    made.has_prior_focal_length = "FISHEYE" in camera.model
    database.write_camera(made, use_camera_id=True)
    rig = pycolmap.Rig(rig_id=number)
    rig.add_ref_sensor(made.sensor_id)
    database.write_rig(rig, use_rig_id=True)
    image = pycolmap.Image(name=name, camera_id=number, image_id=number)
    frame = pycolmap.Frame(frame_id=number, rig_id=number)
    image.frame_id = number
    frame.add_data_id(image.data_id)
    database.write_frame(frame, use_frame_id=True)
    database.write_image(image, use_image_id=True)


def reference_model(images: PosedImages) -> pycolmap.Reconstruction:
    """A model of posed images without points, numbered by :func:`number_of`."""
    model = pycolmap.Reconstruction()
    everything = zip(images.names, images.cameras, images.poses, images.keypoints, strict=True)
    with refusing_errors("the images of the map"):
        for position, (name, camera, pose, points) in enumerate(everything):
            number = number_of(position)
            model.add_camera_with_trivial_rig(to_camera(camera, number))
            image = pycolmap.Image(
                name=name, keypoints=np.asarray(points, np.float64), camera_id=number, image_id=number
            )
            model.add_image_with_trivial_frame(image, to_rigid(pose))
    return model


def write_empty_model(cameras: Mapping[int, Camera], images: Sequence[ModelImage], folder: Path) -> None:
    """Write a COLMAP text model without points, numbers in as many digits as they need, sizes as ``1600.0``.

    Args:
        cameras: by number, in the order of the images.
        images: as they are numbered.
        folder: where ``cameras.txt``, ``images.txt`` and ``points3D.txt`` are written.
    """
    lines = [_line(number, c.model, float(c.width), float(c.height), *c.params) for number, c in cameras.items()]
    write_text(folder / "cameras.txt", "".join(f"{line}\n" for line in lines))
    rows = [_line(i.image_id, *i.pose.rotation, *i.pose.translation, i.camera_id, i.name) for i in images]
    write_text(folder / "images.txt", "".join(f"{row}\n\n" for row in rows))
    write_text(folder / "points3D.txt", "")


def _line(*values: int | float | str) -> str:
    return " ".join(value if isinstance(value, str) else repr(value) for value in values)
