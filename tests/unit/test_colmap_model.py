"""COLMAP models, NVM files and lists of intrinsics: what is read, and what is refused."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from descbench.datasets.cameras import Camera, Pose, camera_model, library_models
from descbench.datasets.colmap_model import read_colmap_model
from descbench.datasets.nvm import read_intrinsics, read_nvm_poses
from descbench.errors import DataError

CAMERAS = "# cameras\n7 PINHOLE 640 480 600 610 320 240\n"
IMAGES = "# images\n1 1 0 0 0 0 0 0 7 a b.jpg\n1.5 2.5 4 3 4 -1\n2 0.6 0 0.8 0 1 2 3 7 c.jpg\n\n"
POINTS = "4 1 2 3 0 0 0 0.5 1 0\n"


def write(folder: Path, cameras: str = CAMERAS, images: str = IMAGES, points: str = POINTS) -> Path:
    for name, text in (("cameras", cameras), ("images", images), ("points3D", points)):
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_text_model_is_read(tmp_path: Path) -> None:
    model = read_colmap_model(write(tmp_path), with_points=True)
    assert model.cameras == {7: Camera("PINHOLE", 640, 480, (600.0, 610.0, 320.0, 240.0))}
    first, second = model.images
    assert (first.name, first.points) == ("a b.jpg", ((1.5, 2.5, 4), (3.0, 4.0, -1)))
    assert (second.pose, second.points) == (Pose((0.6, 0.0, 0.8, 0.0), (1.0, 2.0, 3.0)), ())
    assert model.points[4].xyz == (1.0, 2.0, 3.0)
    assert model.points[4].track == ((1, 0),)


def test_binary_goes_before_text(tmp_path: Path) -> None:
    write(tmp_path, images="nothing")
    (tmp_path / "cameras.bin").write_bytes(struct.pack("<QIiQQ4d", 1, 7, 1, 640, 480, 600, 600, 320, 240))
    image = struct.pack("<I7dI", 3, 1, 0, 0, 0, 1, 2, 3, 7) + b"x.jpg\0" + struct.pack("<QddQ", 1, 1.5, 2.5, 2**64 - 1)
    (tmp_path / "images.bin").write_bytes(struct.pack("<Q", 1) + image)
    (tmp_path / "points3D.bin").write_bytes(struct.pack("<Q", 0))
    assert read_colmap_model(tmp_path).images[0].points == ()
    model = read_colmap_model(tmp_path, with_points=True)
    assert [(i.name, i.pose.translation, i.points) for i in model.images] == [
        ("x.jpg", (1.0, 2.0, 3.0), ((1.5, 2.5, -1),))
    ]
    for cut in (4, 20, 60, len(image)):
        (tmp_path / "images.bin").write_bytes((struct.pack("<Q", 1) + image)[:cut])
        with pytest.raises(DataError, match=r"ends early|without an end"):
            read_colmap_model(tmp_path)
    (tmp_path / "images.bin").write_bytes(struct.pack("<Q", 1) + image + b"!")
    with pytest.raises(DataError, match="too many"):
        read_colmap_model(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cameras": "7 FISHBOWL 640 480 600 320 240\n"}, "unknown camera model"),
        ({"cameras": "7 PINHOLE 640 480 600 320 240\n"}, "4 parameters, not 3"),
        ({"cameras": "7 PINHOLE 640 480 nan 600 320 240\n"}, "finite"),
        ({"cameras": "7 PINHOLE 640 480 0 600 320 240\n"}, "focal"),
        ({"cameras": "7 PINHOLE 640.5 480 600 600 320 240\n"}, "whole"),
        ({"cameras": "7 PINHOLE 0 480 600 600 320 240\n"}, "0 x 480"),
        ({"cameras": CAMERAS + CAMERAS}, "camera 7 is there twice"),
        ({"cameras": ""}, "camera 7, which the model lacks"),
        ({"images": IMAGES.replace("c.jpg", "a b.jpg")}, "two images are called"),
        ({"images": IMAGES.replace("2 0.6", "1 0.6")}, "number 1 is there twice"),
        ({"images": IMAGES.replace("0.6 0 0.8", "0.6 0 0.6")}, "not a rotation"),
        ({"images": IMAGES.replace("0.6 0 0.8", "0 0 0")}, "not a rotation"),
        ({"images": IMAGES.replace("1 2 3 7", "1 inf 3 7")}, "finite"),
        ({"images": IMAGES.replace("c.jpg", "../c.jpg")}, "leaves the dataset's folder"),
        ({"images": IMAGES.replace("1.5 2.5 4", "1.5 2.5")}, "triples"),
        ({"images": "1 1 0 0 0\n\n"}, "an image is"),
        ({"points": "4 1 2 3 0 0 0 0.5 9 0\n"}, "image 9, which the model lacks"),
        ({"points": "4 1 2 3 0 0 0 0.5 1 1\n"}, "contradict"),
        ({"points": ""}, "whose track does not name them"),
        ({"points": "4 1 2\n"}, "a point is"),
        ({"points": "4 1 2 nan 0 0 0 0.5 1 0\n"}, "finite"),
    ],
)
def test_models_that_are_refused(tmp_path: Path, changed: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_colmap_model(write(tmp_path, **changed), with_points=True)


@pytest.mark.parametrize("with_points", [False, True])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": "1 1 0 0 0 0 0 0 7 a.jpg\n2 1 0 0 0 0 0 0 7 b.jpg\n"}, "line after it"),
        ({"images": "1 1 0 0 0 0 0 0 7 a.jpg\n2 1 0 0 0 0 0 0 7 of two blanks.jpg\n"}, "is not a number"),
        ({"images": IMAGES.replace("1.5 2.5 4", "oh no no")}, r"images\.txt: line "),
        ({"images": "# Number of images: 9, mean observations per image: 1\n" + IMAGES}, "says 9, and it holds"),
        ({"cameras": "# Number of cameras: 2\n" + CAMERAS}, "says 2, and it holds 1: it is cut short"),
    ],
)
def test_no_image_is_lost_in_silence(tmp_path: Path, changed: dict[str, str], message: str, with_points: bool) -> None:
    """Empty lines that an editor removed, a file that was cut at the end of a line; whether points are read or not."""
    with pytest.raises(DataError, match=message):
        read_colmap_model(write(tmp_path, **changed), with_points=with_points)


def test_absent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cameras\.txt: no such file"):
        read_colmap_model(tmp_path)


LIBRARY = {name: int(number) for name, number in pycolmap.CameraModelId.__members__.items() if int(number) >= 0}


@pytest.mark.parametrize("name", LIBRARY)
def test_every_camera_model_that_colmap_knows(tmp_path: Path, name: str) -> None:
    """As COLMAP itself writes it, in both forms; with its number, its parameters, and focal lengths above 0."""
    made = pycolmap.Camera.create_from_model_name(3, name, 500.0, 640, 480)
    expected = Camera(name, 640, 480, tuple(map(float, made.params)))
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(made)
    image = pycolmap.Image(name="a.jpg", keypoints=np.zeros((1, 2)), camera_id=3, image_id=1)
    model.add_image_with_trivial_frame(image, pycolmap.Rigid3d())
    for write_model, kind in ((model.write_text, "txt"), (model.write_binary, "bin")):
        (tmp_path / kind).mkdir()
        write_model(tmp_path / kind)
        assert read_colmap_model(tmp_path / kind).cameras == {3: expected}
    known = camera_model(name)
    assert (known.number, known.parameters) == (LIBRARY[name], len(made.params))
    assert camera_model(LIBRARY[name]) == known == library_models()[name]
    assert list(range(known.focal_lengths)) == list(made.focal_length_idxs())
    with pytest.raises(ValueError, match=f"has {known.parameters} parameters, not {known.parameters + 1}"):
        Camera(name, 640, 480, (*expected.params, 1.0))
    for place in range(known.focal_lengths):
        params = [0.0 if number == place else value for number, value in enumerate(expected.params)]
        with pytest.raises(ValueError, match="a focal length that is not above 0"):
            Camera(name, 640, 480, tuple(params))


def test_usual_camera_models_are_known_without_the_library() -> None:
    """Planning reads lists of cameras; COLMAP's library takes a while to start."""
    code = (
        "import sys; from descbench.datasets.cameras import parse_camera; "
        "parse_camera('OPENCV_FISHEYE 640 480 1 1 2 2 0 0 0 0'.split()); assert 'pycolmap' not in sys.modules; "
        "parse_camera('EUCM 640 480 1 1 2 2 0 1'.split()); assert 'pycolmap' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("number", [-1, 999])
def test_numbers_of_no_camera_model(tmp_path: Path, number: int) -> None:
    write(tmp_path)
    (tmp_path / "images.bin").write_bytes(struct.pack("<Q", 0))
    (tmp_path / "cameras.bin").write_bytes(struct.pack("<QIiQQ4d", 1, 7, number, 640, 480, 600, 600, 320, 240))
    with pytest.raises(
        DataError, match=rf"cameras\.bin: unknown camera model number {number}; COLMAP's are PINHOLE, SIMP"
    ):
        read_colmap_model(tmp_path)


NVM = "NVM_V3\n\n2\na.jpg 500 1 0 0 0 1 2 3 0 0\nb.jpg 500 0 1 0 0 1 2 3 0 0\n\n0\n"


def test_nvm_places_become_translations(tmp_path: Path) -> None:
    (tmp_path / "x.nvm").write_text(NVM)
    poses = read_nvm_poses(tmp_path / "x.nvm")
    assert poses["a.jpg"].translation == (-1.0, -2.0, -3.0)
    assert poses["b.jpg"].translation == (-1.0, 2.0, 3.0)
    assert poses["b.jpg"].centre == pytest.approx((1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not an NVM file"),
        ("NVM_V3\n", "not a number of cameras"),
        (NVM.replace("\n2\n", "\n3\n"), r"camera is|ends after"),
        (NVM.replace("\n2\n", "\n-2\n"), "not a number of cameras"),
        (NVM.replace("b.jpg", "a.jpg"), "there twice"),
        (NVM.replace("500 1 0 0 0", "500 0 0 0 0"), "not a rotation"),
        (NVM.replace("500 1 0 0 0", "500 1 0 0 nan"), "finite"),
    ],
)
def test_nvm_files_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.nvm").write_text(text)
    with pytest.raises(DataError, match=message):
        read_nvm_poses(tmp_path / "x.nvm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no image"),
        ("a.jpg\n", "a camera is"),
        ("a.jpg SIMPLE_PINHOLE 10 10 5 5\n", "3 parameters"),
        ("a.jpg SIMPLE_PINHOLE 10 10 5 5 5\n" * 2, "there twice"),
        ("/a.jpg SIMPLE_PINHOLE 10 10 5 5 5\n", "leaves"),
    ],
)
def test_intrinsics_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_intrinsics(tmp_path / "x.txt")
    with pytest.raises(DataError, match="no such file"):
        read_intrinsics(tmp_path / "y.txt")
