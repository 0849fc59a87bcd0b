"""Cameras and poses, as COLMAP has them (docs/protocols/localization.md, Cameras and poses).

Light on purpose: the workflow lists datasets with poses when it plans the shards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

# Parameters and focal lengths, which come first, of the models that nearly all datasets have, in the order of COLMAP's
# numbers: to plan with these, its library need not be started.
_USUAL = {
    "SIMPLE_PINHOLE": (3, 1),
    "PINHOLE": (4, 2),
    "SIMPLE_RADIAL": (4, 1),
    "RADIAL": (5, 1),
    "OPENCV": (8, 2),
    "OPENCV_FISHEYE": (8, 2),
    "FULL_OPENCV": (12, 2),
    "FOV": (5, 2),
    "SIMPLE_RADIAL_FISHEYE": (4, 1),
    "RADIAL_FISHEYE": (5, 1),
    "THIN_PRISM_FISHEYE": (12, 2),
}
_MOST_PIXELS = 1_000_000
# Rotations are written with six digits by some tools; a quaternion further from length 1 is none.
_ROTATION_TOLERANCE = 1e-2


@dataclass(frozen=True)
class CameraModel:
    """A camera model of COLMAP.

    Attributes:
        name: such as ``SIMPLE_RADIAL``.
        number: COLMAP's.
        parameters: how many it has.
        focal_lengths: how many of these, the first ones, are focal lengths; 0 of a whole sphere.
    """

    name: str
    number: int
    parameters: int
    focal_lengths: int


_KNOWN = {name: CameraModel(name, number, *counts) for number, (name, counts) in enumerate(_USUAL.items())}


@cache
def library_models() -> dict[str, CameraModel]:
    """All camera models that the installed library of COLMAP knows, by name."""
    import pycolmap

    found = {}
    for name, number in pycolmap.CameraModelId.__members__.items():
        if int(number) >= 0:  # one member stands for no model
            camera = pycolmap.Camera(model=name)
            parameters = len(camera.params_info.split(","))
            found[name] = CameraModel(name, int(number), parameters, len(camera.focal_length_idxs()))
    return found


def camera_model(which: str | int) -> CameraModel:
    """The model of that name, or of that number of COLMAP's.

    Raises:
        ValueError: COLMAP knows none.
    """
    for known in (lambda: _KNOWN, library_models):
        for model in known().values():
            if which in (model.name, model.number):
                return model
    shown = f"number {which}" if isinstance(which, int) else repr(which[:40])
    raise ValueError(
        f"unknown camera model {shown}; COLMAP's are PINHOLE, SIMPLE_RADIAL and {len(library_models()) - 2} more"
    )


@dataclass(frozen=True)
class Camera:
    """Intrinsics of a camera.

    Attributes:
        model: a name of :func:`camera_model`.
        width, height: of its images in pixels.
        params: focal lengths and principal point in pixels, then distortion; the corner of the first pixel is (0, 0).

    Raises:
        ValueError: an unknown model, or numbers that no camera has.
    """

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    def __post_init__(self) -> None:
        model = camera_model(self.model)
        if len(self.params) != model.parameters:
            raise ValueError(f"camera model {model.name} has {model.parameters} parameters, not {len(self.params)}")
        if not all(map(math.isfinite, self.params)):
            raise ValueError("parameters of a camera that are NaN or infinity")
        if any(length <= 0 for length in self.params[: model.focal_lengths]):
            raise ValueError("a focal length that is not above 0")
        if not (0 < self.width <= _MOST_PIXELS and 0 < self.height <= _MOST_PIXELS):
            raise ValueError(f"images of {self.width} x {self.height} pixels")


@dataclass(frozen=True)
class Pose:
    """Where a camera is: x in the world is R x + t in the camera, which looks along +z with y down.

    Attributes:
        rotation: quaternion w, x, y, z of R; it need not have length 1.
        translation: t in the unit of the world, metres where errors are.

    Raises:
        ValueError: not four and three finite numbers, or a quaternion of length 0.
    """

    rotation: tuple[float, float, float, float]
    translation: tuple[float, float, float]

    def __post_init__(self) -> None:
        if len(self.rotation) != 4 or len(self.translation) != 3:
            raise ValueError("a pose is four numbers of a quaternion and three of a translation")
        if not all(map(math.isfinite, (*self.rotation, *self.translation))):
            raise ValueError("a pose that holds NaN or infinity")
        if not any(self.rotation):
            raise ValueError("a quaternion of length 0, which is not a rotation")

    @property
    def matrix(self) -> tuple[tuple[float, float, float], ...]:
        """R, 3 x 3 in rows."""
        length = math.sqrt(math.fsum(q * q for q in self.rotation))
        w, x, y, z = (q / length for q in self.rotation)
        return (
            (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        )

    @property
    def centre(self) -> tuple[float, float, float]:
        """Place of the camera in the world, -R^T t."""
        rows, t = self.matrix, self.translation
        return tuple(-sum(rows[r][c] * t[r] for r in range(3)) for c in range(3))

    @property
    def is_unit(self) -> bool:
        """Whether the quaternion has length 1, within what six digits can do."""
        return abs(math.sqrt(math.fsum(q * q for q in self.rotation)) - 1) <= _ROTATION_TOLERANCE


def pose_at(rotation: Sequence[float], centre: Sequence[float]) -> Pose:
    """Pose of a camera with this quaternion (w, x, y, z; normalised for t, kept as it is) at a place, t = -R c."""
    turned = Pose(tuple(rotation), (0.0, 0.0, 0.0)).matrix
    return Pose(tuple(rotation), tuple(-sum(row[k] * centre[k] for k in range(3)) for row in turned))


def from_camera_to_world(pose: Pose) -> Pose:
    """The pose meant by one that was written as camera to world: its translation is the camera's place."""
    w, *axis = pose.rotation
    return pose_at((w, *(-value for value in axis)), pose.translation)


def from_centre(pose: Pose) -> Pose:
    """The pose meant by one with the camera's place in the place of its translation."""
    return pose_at(pose.rotation, pose.translation)


# Poses as other programs have them: what makes ours of them, what they are, and what to do.
OTHER_CONVENTIONS = (
    (from_camera_to_world, "they are camera to world", "R^T and -R^T t of each"),
    (from_centre, "the translations are camera centres", "R and -R t of each"),
)


def parse_camera(words: Sequence[str]) -> Camera:
    """The camera that ``MODEL width height params...`` are.

    Raises:
        ValueError: they are none.
    """
    if len(words) < 3:
        raise ValueError("a camera is MODEL width height params...")
    sizes = [parse_number(word) for word in words[1:3]]
    if any(size != int(size) for size in sizes):
        raise ValueError(f"image sizes {words[1][:40]} x {words[2][:40]} are not whole numbers")
    return Camera(words[0], int(sizes[0]), int(sizes[1]), tuple(map(parse_number, words[3:])))


def parse_number(word: str) -> float:
    """A finite number as a C program writes it.

    Raises:
        ValueError: it is none.
    """
    if not word.isascii() or "_" in word:  # Python would read numbers from it
        raise ValueError(f"{word[:40]!r} is not a number")
    try:
        number = float(word)
    except ValueError:
        raise ValueError(f"{word[:40]!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{word[:40]!r} is not a finite number")
    return number
