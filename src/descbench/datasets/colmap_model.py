"""Models of COLMAP, text or binary: cameras, images with poses, points (docs/protocols/localization.md, COLMAP models).

COLMAP's own reader ends the process where a file is damaged, and takes what contradicts itself; so files are read here,
with every number checked, and handed to pycolmap afterwards. Light on purpose, as :mod:`descbench.datasets.cameras`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from descbench.datasets.cameras import Camera, Pose, camera_model, parse_camera, parse_number
from descbench.datasets.labels import safe_relative
from descbench.errors import DataError
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines

_NO_POINT = 2**64 - 1
_MOST_NAME = 4096
_LEAST_CAMERA = 40  # bytes of one with two parameters
_LONGEST_ROW = 8192  # of an image, with its name
_HEAD = 10  # lines in which a header says how many rows follow
_STATED = re.compile(r"#\s*Number of (?:cameras|images|points):\s*(\d{1,12})")


@dataclass(frozen=True)
class ModelImage:
    """An image of a model.

    Attributes:
        image_id: COLMAP's number.
        pose: of its camera.
        camera_id: key of the model's cameras.
        name: path below the folder of images.
        points: x, y in pixels (the corner of the first is 0, 0) and id of the 3-D point, -1 for none.
    """

    image_id: int
    pose: Pose
    camera_id: int
    name: str
    points: tuple[tuple[float, float, int], ...] = ()


@dataclass(frozen=True)
class ModelPoint:
    """A 3-D point: its place, and the images and numbers of points in them that see it."""

    xyz: tuple[float, float, float]
    track: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ColmapModel:
    """Cameras by COLMAP's number, images in the order of the file, points by number."""

    cameras: dict[int, Camera]
    images: tuple[ModelImage, ...]
    points: dict[int, ModelPoint]


def read_colmap_model(folder: Path, *, with_points: bool = False) -> ColmapModel:
    """Read ``cameras``, ``images`` and, where asked for, ``points3D`` of a folder, ``.bin`` where it is there.

    Args:
        folder: of the model.
        with_points: whether the 3-D points and what sees them are read and compared; else images have no points.

    Raises:
        DataError: a file is absent or damaged, a camera model unknown, a quaternion is not a rotation, an image has no
            camera or a name that another one has, or points and images contradict each other; names file and line.
    """
    binary = (folder / "images.bin").is_file()
    suffix, kinds = (".bin", _BINARY) if binary else (".txt", _TEXT)
    cameras = dict(_distinct(kinds[0](folder / f"cameras{suffix}"), folder / f"cameras{suffix}", "camera"))
    path = folder / f"images{suffix}"
    images = tuple(_check_images(kinds[1](path, with_points), cameras, path))
    points: dict[int, ModelPoint] = {}
    if with_points:
        path = folder / f"points3D{suffix}"
        points = dict(_distinct(kinds[2](path), path, "point"))
        _check_tracks(images, points, path)
    return ColmapModel(cameras, images, points)


def _distinct(found: Iterator[tuple[int, Any]], path: Path, what: str) -> Iterator[tuple[int, Any]]:
    known: set[int] = set()
    for number, value in found:
        if number in known:
            raise DataError(f"{path}: {what} {number} is there twice; export the model again.")
        known.add(number)
        yield number, value


def _check_images(found: Iterator[ModelImage], cameras: dict[int, Camera], path: Path) -> Iterator[ModelImage]:
    ids, names = set[int](), set[str]()
    for image in found:
        shown = shorten(image.name)
        if image.camera_id not in cameras:
            raise DataError(f"{path}: image {shown} has camera {image.camera_id}, which the model lacks.")
        if image.image_id in ids:
            raise DataError(f"{path}: image number {image.image_id} is there twice; export the model again.")
        if image.name in names:
            raise DataError(f"{path}: two images are called {shown}; poses of one name can't be told apart.")
        if not image.pose.is_unit:
            raise DataError(f"{path}: image {shown} has a quaternion that is not of length 1, which is not a rotation.")
        ids.add(image.image_id)
        names.add(image.name)
        yield image


def _check_tracks(images: tuple[ModelImage, ...], points: dict[int, ModelPoint], path: Path) -> None:
    """Points and images name each other."""
    by_id = {image.image_id: image for image in images}
    seen = {(i.image_id, n): p[2] for i in images for n, p in enumerate(i.points) if p[2] >= 0}
    tracked: dict[tuple[int, int], int] = {}
    for number, point in points.items():
        for place in point.track:
            if place[0] not in by_id:
                raise DataError(f"{path}: point {number} is seen by image {place[0]}, which the model lacks.")
            if seen.get(place) != number:
                raise DataError(f"{path}: point {number} and image {place[0]} contradict each other.")
            tracked[place] = number
    if len(tracked) != len(seen):
        missing = next(number for place, number in seen.items() if place not in tracked)
        raise DataError(f"{path}: images see point {missing}, whose track does not name them; export the model again.")


# --- text ---


def _text_rows(path: Path, parse: Callable[[list[str]], Any]) -> Iterator[Any]:
    """What is parsed of each line that holds something."""
    lines, count = _lines(path), 0
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            yield parse(line.split())
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}: line {number}: {shorten(error)}.") from None
        count += 1
    _check_header(lines, count, path)


def _check_header(lines: list[str], count: int, path: Path) -> None:
    """Refuse a file that holds fewer rows than its own header says."""
    stated = next((int(found[1]) for line in lines[:_HEAD] if (found := _STATED.match(line))), 0)
    if count < stated:
        raise DataError(
            f"{path}: its header says {stated}, and it holds {count}: it is cut short, or lines are missing; export "
            "the model again, or correct the header."
        )


def _lines(path: Path) -> list[str]:
    try:
        return read_lines(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{path}: no such file; a COLMAP model has cameras, images and points3D, .txt or .bin; "
            "put it there, or correct `model` of the dataset."
        ) from None


def _camera_row(words: list[str]) -> tuple[int, Camera]:
    return _whole(words[0]), parse_camera(words[1:])


def _text_images(path: Path, with_points: bool) -> Iterator[ModelImage]:
    """Each image has two lines, of which the second may be empty."""
    lines, count = _lines(path), 0
    numbered = enumerate(lines, start=1)
    for number, line in numbered:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        second = next(numbered, (number + 1, ""))[1]
        # Where empty lines were removed, it is the next image, which must not be passed over for points.
        points = second.split() if with_points or len(second) < _LONGEST_ROW else []
        try:
            image = _image_row(line.strip(), points, path)
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}: line {number}: {shorten(error)}.") from None
        yield image if with_points else replace(image, points=())
        count += 1
    _check_header(lines, count, path)


def _image_row(line: str, points: list[str], path: Path) -> ModelImage:
    words = line.split(None, 9)  # a name may hold blanks
    if len(words) != 10:
        raise ValueError("an image is IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME")
    if len(points) % 3:
        raise ValueError(f"{len(points)} words in the line after it are not triples of x, y, point; it may be empty")
    numbers = tuple(map(parse_number, words[1:8]))
    found = zip(points[::3], points[1::3], points[2::3], strict=True)
    return ModelImage(
        _whole(words[0]),
        Pose(numbers[:4], numbers[4:]),
        _whole(words[8]),
        safe_relative(words[9], path),
        tuple((parse_number(x), parse_number(y), _whole(p, -1)) for x, y, p in found),
    )


def _point_row(words: list[str]) -> tuple[int, ModelPoint]:
    if len(words) < 8 or len(words) % 2:
        raise ValueError("a point is POINT3D_ID X Y Z R G B ERROR and pairs of IMAGE_ID POINT2D_IDX")
    track = tuple(zip(map(_whole, words[8::2]), map(_whole, words[9::2]), strict=True))
    return _whole(words[0]), ModelPoint(tuple(map(parse_number, words[1:4])), track)


def _whole(word: str, least: int = 0) -> int:
    number = int(word) if word.isascii() and "_" not in word and len(word) < 21 else None
    if number is None or not least <= number <= _NO_POINT:
        raise ValueError(f"{word[:40]!r} is not a number of a camera, image or point")
    return number


# --- binary ---


class _Bytes:
    """A binary file, read forward; what is asked for beyond its end is refused."""

    def __init__(self, path: Path) -> None:
        self.path, self._at = path, 0
        try:
            self._content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); a COLMAP model has this file.") from None

    def take(self, layout: str) -> tuple[Any, ...]:
        """The next values of a little-endian layout."""
        size = struct.calcsize(f"<{layout}")
        self._need(size)
        found = struct.unpack_from(f"<{layout}", self._content, self._at)
        self._at += size
        return found

    def take_all(self, layout: str, count: int, *, kept: bool = True) -> list[tuple[Any, ...]]:
        """So many times a layout; passed over where they are not ``kept``."""
        size = struct.calcsize(f"<{layout}") * count
        self._need(size)
        content = self._content[self._at : self._at + size] if kept else b""
        found = list(struct.iter_unpack(f"<{layout}", content))
        self._at += size
        return found

    def name(self) -> str:
        """A text that ends with a zero byte."""
        end = self._content.find(b"\0", self._at, self._at + _MOST_NAME)
        if end < 0:
            raise DataError(f"{self.path}: a name without an end; the file is damaged or no COLMAP model.")
        raw, self._at = self._content[self._at : end], end + 1
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{self.path}: a name that is not UTF-8; the file is damaged or no COLMAP model.") from None

    def count(self, least_size: int) -> int:
        """A number of records, each of so many bytes at least."""
        (number,) = self.take("Q")
        self._need(number * least_size)
        return number

    def end(self) -> None:
        """Nothing more may follow."""
        if self._at != len(self._content):
            raise DataError(f"{self.path}: {len(self._content) - self._at} bytes too many; damaged or no COLMAP model.")

    def _need(self, size: int) -> None:
        if self._at + size > len(self._content):
            raise DataError(f"{self.path}: ends early; the file is damaged or no COLMAP model.")


def _checked(path: Path, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}: {shorten(error)}.") from None


def _binary_cameras(path: Path) -> Iterator[tuple[int, Camera]]:
    file = _Bytes(path)
    for _ in range(file.count(_LEAST_CAMERA)):
        number, numbered, width, height = file.take("IiQQ")
        model = _checked(path, lambda: camera_model(numbered))  # noqa: B023 - called now
        params = file.take(f"{model.parameters}d")
        yield number, _checked(path, lambda: Camera(model.name, width, height, params))  # noqa: B023 - called now
    file.end()


def _binary_images(path: Path, with_points: bool) -> Iterator[ModelImage]:
    file = _Bytes(path)
    for _ in range(file.count(73)):
        number, *values, camera = file.take("I7dI")
        name = safe_relative(file.name(), path)
        found = file.take_all("ddQ", file.count(24), kept=with_points)
        points = tuple((x, y, -1 if p == _NO_POINT else p) for x, y, p in found)
        if not all(abs(x) + abs(y) < float("inf") for x, y, _ in points):
            raise DataError(f"{path}: image {shorten(name)} has points at NaN or infinity.")
        pose = _checked(path, lambda: Pose(tuple(values[:4]), tuple(values[4:])))  # noqa: B023 - called now
        yield ModelImage(number, pose, camera, name, points)
    file.end()


def _binary_points(path: Path) -> Iterator[tuple[int, ModelPoint]]:
    file = _Bytes(path)
    for _ in range(file.count(51)):
        number, x, y, z, *_ = file.take("Q3d3Bd")
        if not abs(x) + abs(y) + abs(z) < float("inf"):
            raise DataError(f"{path}: point {number} is at NaN or infinity.")
        yield number, ModelPoint((x, y, z), tuple(file.take_all("II", file.count(8))))
    file.end()


_TEXT = (lambda path: _text_rows(path, _camera_row), _text_images, lambda path: _text_rows(path, _point_row))
_BINARY = (_binary_cameras, _binary_images, _binary_points)
