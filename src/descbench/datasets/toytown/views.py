"""Photographs of a town: where the camera stands, which light there is, and what is in the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from descbench.datasets.toytown.geometry import PROP, Camera, Mesh, MeshBuilder, look_at
from descbench.datasets.toytown.render import Atlas, Light, Picture, halved, owner_pixels, render
from descbench.datasets.toytown.textures import TEXELS
from descbench.datasets.toytown.town import Building, Town, add_box

SUPERSAMPLE = 2
# Metres ahead of a camera within which things stand in the way of no particular building.
STREET_REACH = 14.0


@dataclass(frozen=True)
class Pose:
    """How a view of a building is taken.

    Attributes:
        camera: where from.
        angle: of the viewing direction against the building's front, radians.
        distance: to the building's centre, metres.
        dusk: taken after sunset.
    """

    camera: Camera
    angle: float
    distance: float
    dusk: bool


@dataclass(frozen=True)
class View:
    """A finished photograph.

    Attributes:
        pixels: (H, W, 3) uint8.
        owner: (H, W) building number of every pixel.
        pose: how it was taken.
        subject: number of the building it is of, 0 for a street view of none.
        area: share of the image that the subject covers.
        free: share of the subject's outline that nothing stands before.
    """

    pixels: np.ndarray
    owner: np.ndarray
    pose: Pose
    subject: int
    area: float
    free: float


def take_view(
    town: Town, atlas: Atlas, subject: Building | None, width: int, height: int, rng: np.random.Generator, calm: bool
) -> View:
    """Photograph a building, or a street when there is none.

    Args:
        town, atlas: what is there.
        subject: building to look at.
        width, height: image size in pixels.
        rng: decides everything else.
        calm: an undemanding view: near the front, by day, little in the way.
    """
    pose = stand(town, subject, width, height, rng, calm)
    reach = STREET_REACH if subject is None else float(np.linalg.norm(subject.centre - pose.camera.centre[:2]))
    pixels, picture = photograph(town, atlas, pose.camera, rng, reach=reach, dusk=pose.dusk, calm=calm)
    owner = picture.owner[::SUPERSAMPLE, ::SUPERSAMPLE]
    covered = int((owner == subject.owner).sum()) if subject else 0
    outline = owner_pixels(town.mesh, pose.camera, subject.owner, atlas) if subject else 0
    return View(pixels, owner, pose, subject.owner if subject else 0, covered / owner.size, covered / max(outline, 1))


def photograph(
    town: Town, atlas: Atlas, camera: Camera, rng: np.random.Generator, *, reach: float, dusk: bool, calm: bool
) -> tuple[np.ndarray, Picture]:
    """What a camera sees: (H, W, 3) uint8, and the finer picture that it was developed from.

    Args:
        town, atlas: what is there.
        camera: where it stands.
        rng: decides light, props, clouds and exposure.
        reach: metres ahead within which things stand in the way.
        dusk: after sunset.
        calm: little stands in the way.
    """
    light = draw_light(rng, dusk)
    scene = town.mesh.plus(_props(town, camera, reach, rng, calm))
    picture = render(scene, atlas, camera.scaled(SUPERSAMPLE), light, rng)
    return develop(picture, camera.width, camera.height, dusk, rng), picture


def draw_light(rng: np.random.Generator, dusk: bool) -> Light:
    """Sun, sky and lamps: a day between hazy and clear, or the half hour after sunset."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.1)
    sun = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    if dusk:
        warm = np.array([1.0, 0.62, 0.42]) * rng.uniform(0.05, 0.16)
        ambient = np.array([0.30, 0.33, 0.46]) * rng.uniform(0.75, 1.15)
        return Light(sun, warm, ambient, np.array([0.09, 0.12, 0.27]), np.array([0.62, 0.42, 0.38]), 0.85)
    clear = rng.uniform(0.25, 1.0)
    colour = np.array([1.0, 0.95, 0.86]) * (0.35 + 0.55 * clear)
    ambient = np.array([0.60, 0.64, 0.70]) * (1.12 - 0.35 * clear)
    top = np.array([0.36, 0.55, 0.86]) * clear + np.array([0.72, 0.75, 0.79]) * (1 - clear)
    return Light(sun, colour, ambient, top, np.array([0.80, 0.85, 0.90]), 0.0)


def develop(picture: Picture, width: int, height: int, dusk: bool, rng: np.random.Generator) -> np.ndarray:
    """From light to an 8-bit photograph: exposure, white balance, vignette, blur, noise."""
    balance = np.array([rng.uniform(0.93, 1.07), 1.0, rng.uniform(0.93, 1.07)])
    exposed = halved(picture.rgb) * balance * rng.uniform(0.85, 1.2) * (1.25 if dusk else 1.0)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    exposed = exposed * (1 - 0.12 * (x**2 + y**2))[..., None]
    toned = np.clip(exposed, 0, None) ** 0.92
    toned = toned / (1 + np.clip(toned - 0.75, 0, None))
    image = Image.fromarray((np.clip(toned, 0, 1) * 255).astype(np.uint8))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.6))), np.float32)
    noise = rng.standard_normal((height, width, 1)) * (4.0 if dusk else 2.0) + rng.standard_normal((height, width, 3))
    return np.clip(np.round(soft + noise), 0, 255).astype(np.uint8)


def stand(town: Town, subject: Building | None, width: int, height: int, rng: np.random.Generator, calm: bool) -> Pose:
    """A free place to stand; the tries go on with wider angles until one is outside every building."""
    spread = 0.35 if calm else 1.15
    for attempt in range(60):
        target = subject or town.buildings[int(rng.integers(len(town.buildings)))]
        limit = spread + 0.02 * attempt
        angle = rng.uniform(-limit, limit) if subject else rng.uniform(-np.pi, np.pi)
        reach = max(target.size)
        distance = rng.uniform(1.25, 1.7) * reach if calm else rng.uniform(1.1, 2.6) * reach
        cos, sin = np.cos(angle), np.sin(angle)
        direction = np.array([[cos, -sin], [sin, cos]]) @ target.front
        place = np.array(target.centre) + direction * distance
        if not town.inside(place, 0.8):
            break
    eye_height = rng.uniform(1.5, 2.2) if rng.random() < 0.75 else rng.uniform(3, 7)
    aim = np.array([*target.centre, target.size[2] * rng.uniform(0.4, 0.6)])
    aim[:2] += rng.uniform(-1.5, 1.5, 2) if subject else rng.uniform(-8, 8, 2)
    fov = np.deg2rad(rng.uniform(56, 68) if calm else rng.uniform(48, 76))
    camera = look_at(np.array([*place, eye_height]), aim, fov, width, height, rng.normal(0, 0.02))
    dusk = bool(rng.random() < (0.0 if calm else 0.32))
    return Pose(camera, float(angle), float(distance), dusk)


def _props(town: Town, camera: Camera, reach: float, rng: np.random.Generator, calm: bool) -> Mesh:
    """Trees, people, lamp posts and cars between the camera and what it looks at, ``reach`` metres away."""
    builder = MeshBuilder()
    eye = camera.centre
    forward = camera.R[2, :2] / np.linalg.norm(camera.R[2, :2])
    aside = np.array([-forward[1], forward[0]])
    for number in range(int(rng.integers(1, 4 if calm else 8))):
        near = rng.uniform(0.35, 0.8)
        side = rng.uniform(-0.55, 0.55) * near * reach
        if calm and abs(side) < 0.2 * near * reach:
            side = np.copysign(0.3 * near * reach, side)
        place = eye[:2] + forward * reach * near + aside * side
        if town.inside(place, 1.0):
            continue
        builder.place(PROP + number, 0.0, (float(place[0]), float(place[1])))
        kind = rng.choice(["tree", "person", "lamp", "car"], p=[0.25, 0.3, 0.2, 0.25])
        if kind in ("tree", "person"):
            numbers = town.trees if kind == "tree" else town.people
            size = rng.uniform(0.55, 1.0) if kind == "tree" else rng.uniform(0.43, 0.5)
            shape = (6.0, 8.0) if kind == "tree" else (2.0, 4.0)
            _billboard(builder, int(rng.choice(numbers)), aside, shape, size)
        elif kind == "lamp":
            _lamp(builder, int(rng.choice(town.paints)))
        else:
            builder.yaw = float(rng.uniform(0, np.pi))
            _car(builder, int(rng.choice(town.paints)), int(rng.choice(town.paints)))
    return builder.build()


def _billboard(builder: MeshBuilder, number: int, aside: np.ndarray, shape: tuple[float, float], size: float) -> None:
    """A cut-out that faces the camera; ``aside`` points to the left of the view."""
    width, height = shape[0] * size, shape[1] * size
    left = np.array([*aside, 0.0]) * width / 2
    top = np.array([0.0, 0.0, height])
    corners = np.array([left, -left, top - left, top + left])
    builder.soft = True
    right = np.array([*-aside, 0.0]) * TEXELS / size
    builder.add(corners, number, corners[3], right, np.array([0, 0, -TEXELS / size]))
    builder.soft = False


def _lamp(builder: MeshBuilder, number: int) -> None:
    add_box(builder, (-0.07, -0.07, 0.0), (0.07, 0.07, 4.2), [number] * 5)
    add_box(builder, (-0.25, -0.25, 4.2), (0.25, 0.25, 4.7), [number] * 5)


def _car(builder: MeshBuilder, body: int, cabin: int) -> None:
    add_box(builder, (-2.1, -0.85, 0.25), (2.1, 0.85, 0.95), [body] * 5)
    add_box(builder, (-1.2, -0.75, 0.95), (1.1, 0.75, 1.5), [cabin] * 4 + [body])
