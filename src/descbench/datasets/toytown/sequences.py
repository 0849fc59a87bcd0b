"""Sequences in the layout of HPatches: a row of facades in one plane, six pictures of each, and true homographies.

All that is seen lies in the plane y = 0, so that a homography maps every pixel. Sequences ``i_*`` have one camera and
six lights, sequences ``v_*`` cameras that go farther and farther from the first.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from descbench.config.toytown import Sequences
from descbench.datasets.hpatches_sequences import IMAGES
from descbench.datasets.toytown import textures
from descbench.datasets.toytown.geometry import Camera, Mesh, MeshBuilder, look_at
from descbench.datasets.toytown.layouts import write_file
from descbench.datasets.toytown.render import Atlas, render
from descbench.datasets.toytown.seeds import rng_for
from descbench.datasets.toytown.textures import TEXELS
from descbench.datasets.toytown.town import UP
from descbench.datasets.toytown.views import SUPERSAMPLE, develop, draw_light

# Facades side by side and one above the other, and the metres of each: no camera sees past them.
_COLUMNS, _ROWS = 10, 4
_WIDTH, _HEIGHT = 7.0, 7.5
_DISTANCE = 13.0
_FOV = np.deg2rad(46)


class ImageSize(Protocol):
    """Settings that say how large images are."""

    width: int
    height: int


@dataclass(frozen=True)
class SequenceImage:
    """One image to take.

    Attributes:
        sequence: its name, which begins with ``i_`` or ``v_``.
        number: from 1.
    """

    sequence: str
    number: int


def plan_sequences(settings: Sequences) -> list[SequenceImage]:
    """All images, sequence by sequence."""
    names = [f"i_facades{i:02d}" for i in range(settings.illumination)]
    names += [f"v_facades{i:02d}" for i in range(settings.viewpoint)]
    return [SequenceImage(name, number) for name in names for number in range(1, IMAGES + 1)]


def take_sequence_image(image: SequenceImage, settings: ImageSize, seed: int) -> np.ndarray:
    """The image: (H, W, 3) uint8."""
    rng = rng_for(seed, image.sequence, "light", image.number)
    return photograph_wall(image, settings, seed, rng, dusk=image.sequence.startswith("i_") and image.number == IMAGES)


def photograph_wall(
    image: SequenceImage, settings: ImageSize, seed: int, rng: np.random.Generator, *, dusk: bool
) -> np.ndarray:
    """What the camera of an image sees in a light that ``rng`` draws, by day or after sunset: (H, W, 3) uint8."""
    mesh, atlas = _wall(seed, image.sequence)
    camera = camera_of(image, settings, seed)
    picture = render(mesh, atlas, camera.scaled(SUPERSAMPLE), draw_light(rng, dusk), rng)
    return develop(picture, camera.width, camera.height, dusk, rng)


def camera_of(image: SequenceImage, settings: ImageSize, seed: int) -> Camera:
    """Where an image is taken from."""
    number = 1 if image.sequence.startswith("i_") else image.number
    rng = rng_for(seed, image.sequence, "camera", number)
    share = (number - 1) / (IMAGES - 1)
    side = float(rng.choice([-1.0, 1.0]))
    turn, lift = side * (0.1 + 0.55 * share), rng.uniform(-0.25, 0.25) * share
    distance = _DISTANCE * rng.uniform(1 - 0.3 * share, 1 + 0.3 * share)
    target = np.array([rng.uniform(-1, 1), 0.0, _ROWS * _HEIGHT / 2 + rng.uniform(-1, 1)])
    away = np.array([np.sin(turn), -np.cos(turn) * np.cos(lift), np.sin(lift)])
    roll = rng.normal(0, 0.02) + side * 0.4 * share * rng.uniform(-1, 1)
    return look_at(target + distance * away, target, _field_of_view(settings), settings.width, settings.height, roll)


def _field_of_view(settings: ImageSize) -> float:
    """Horizontal, in radians; narrower in tall images, which would see past the facades above and below."""
    return 2 * np.arctan(np.tan(_FOV / 2) * min(1.0, 0.75 * settings.width / settings.height))


def homography(first: Camera, other: Camera) -> np.ndarray:
    """(3, 3) float64 from pixels of the first image to those of the other, counted from 0 at pixel centres.

    A point (x, 0, z) of the plane is seen at K [r1 r3 t] (x, z, 1).
    """
    from_plane = [camera.K @ np.column_stack([camera.R[:, 0], camera.R[:, 2], camera.t]) for camera in (first, other)]
    # The cameras' own coordinates have the centre of the first pixel at 0.5.
    shift = np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    found = np.linalg.inv(shift) @ from_plane[1] @ np.linalg.inv(from_plane[0]) @ shift
    return found / found[2, 2]


def write_sequences(
    folder: Path,
    images: Sequence[SequenceImage],
    photographs: Mapping[SequenceImage, np.ndarray],
    settings: Sequences,
    seed: int,
) -> list[Path]:
    """HPatches' layout: ``<sequence>/1.ppm`` to ``6.ppm`` and ``H_1_2`` to ``H_1_6``. Returns the files.

    Args:
        folder: of all sequences.
        images: of :func:`plan_sequences`.
        photographs: (H, W, 3) uint8 of each.
        settings, seed: that they were taken with.
    """
    files = []
    for image in images:
        place = folder / image.sequence
        files.append(write_file(place / f"{image.number}.ppm", _encode_ppm(photographs[image])))
        if image.number > 1:
            matrix = true_homography(image, settings, seed)
            text = "".join(" ".join(map(repr, row)) + "\n" for row in matrix.tolist())
            files.append(write_file(place / f"H_1_{image.number}", text.encode()))
    return files


def true_homography(image: SequenceImage, settings: ImageSize, seed: int) -> np.ndarray:
    """(3, 3) float64 from pixels of the first image of a sequence to those of this one."""
    if image.sequence.startswith("i_"):
        return np.eye(3)  # not up to rounding, as in the official files
    first = SequenceImage(image.sequence, 1)
    return homography(camera_of(first, settings, seed), camera_of(image, settings, seed))


@lru_cache(maxsize=1)
def _wall(seed: int, sequence: str) -> tuple[Mesh, Atlas]:
    """Facades of different houses in the plane y = 0, seen from the south."""
    builder, atlas = MeshBuilder(), []
    builder.place(1, 0.0, (0.0, 0.0))
    for number in range(_COLUMNS * _ROWS):
        row, column = divmod(number, _COLUMNS)
        rng = rng_for(seed, sequence, "facade", number)
        x0, z0 = (column - _COLUMNS / 2) * _WIDTH, row * _HEIGHT
        x1, z1 = x0 + _WIDTH, z0 + _HEIGHT
        corners = np.array([[x0, 0, z0], [x1, 0, z0], [x1, 0, z1], [x0, 0, z1]])
        builder.add(corners, number, corners[3], np.array([TEXELS, 0.0, 0.0]), -UP * TEXELS)
        atlas.append(textures.facade(textures.draw_style(rng), _WIDTH, _HEIGHT, row == 0, rng))
    return builder.build(), Atlas(tuple(atlas))


def _encode_ppm(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PPM")
    return stream.getvalue()
