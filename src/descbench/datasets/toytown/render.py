"""A z-buffer rasteriser: textured planar faces, sun, sky and haze, in numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descbench.datasets.toytown.geometry import GROUND, Camera, Mesh
from descbench.datasets.toytown.textures import TEXELS, smooth_noise

_NEAR = 0.3
_LEVELS = 6


@dataclass(frozen=True)
class Light:
    """Light of one picture.

    Attributes:
        sun: (3,) unit vector towards the sun.
        sun_colour, ambient, sky_top, sky_low: (3,) linear RGB.
        glow: how much lit windows show, 0 by day.
    """

    sun: np.ndarray
    sun_colour: np.ndarray
    ambient: np.ndarray
    sky_top: np.ndarray
    sky_low: np.ndarray
    glow: float


@dataclass(frozen=True)
class Picture:
    """What the rasteriser gives.

    Attributes:
        rgb: (H, W, 3) float32, 0..1.
        owner: (H, W) int32 building number; 0 ground, -1 sky.
        depth: (H, W) float32 along the optical axis in metres; infinity for the sky.
    """

    rgb: np.ndarray
    owner: np.ndarray
    depth: np.ndarray


class Atlas:
    """Textures with their mip pyramids in one flat array, so that a gather needs no loop over levels."""

    def __init__(self, textures: tuple[np.ndarray, ...]) -> None:
        parts: list[np.ndarray] = []
        self.start = np.zeros((len(textures), _LEVELS), np.int64)
        self.shape = np.zeros((len(textures), _LEVELS, 2), np.int64)
        position = 0
        for number, texture in enumerate(textures):
            level = texture
            for depth in range(_LEVELS):
                self.start[number, depth] = position
                self.shape[number, depth] = level.shape[:2]
                parts.append(level.reshape(-1, 5))
                position += len(parts[-1])
                level = halved(level)
        self.texels = np.concatenate(parts)

    def sample(self, number: int, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        """(N, 5) texels at (u, v), repeating, from the level whose texel is about as large as a pixel."""
        level = np.clip(np.log2(np.maximum(footprint, 1e-6)) + 0.5, 0, _LEVELS - 1).astype(np.int64)
        height, width = self.shape[number, level].T
        full = self.shape[number, 0]
        x = np.minimum((u / full[1] % 1.0 * width).astype(np.int64), width - 1)
        y = np.minimum((v / full[0] % 1.0 * height).astype(np.int64), height - 1)
        return self.texels[self.start[number, level] + y * width + x]


def render(mesh: Mesh, atlas: Atlas, camera: Camera, light: Light, clouds: np.random.Generator) -> Picture:
    """Draw a mesh with its light; see :class:`Picture`."""
    canvas = _Canvas(camera)
    corners = mesh.corners @ camera.R.T + camera.t
    normals = mesh.normals @ camera.R.T
    facing = np.einsum("fd,fd->f", normals, corners[:, 0]) < -1e-9
    ahead = corners[..., 2].max(1) > _NEAR
    visible = np.flatnonzero(facing & ahead)
    visible = visible[_in_frame(corners[visible], camera)]
    for face in visible[np.argsort(corners[visible, :, 2].min(1), kind="stable")]:
        canvas.draw(mesh, int(face), corners[face], normals[face], atlas)
    return canvas.shade(mesh, light, clouds)


def owner_pixels(mesh: Mesh, camera: Camera, owner: int, atlas: Atlas) -> int:
    """Pixels that a building would cover if nothing stood before it."""
    alone = mesh.of_owner(owner)
    canvas = _Canvas(camera)
    corners = alone.corners @ camera.R.T + camera.t
    normals = alone.normals @ camera.R.T
    for face in range(len(alone)):
        if normals[face] @ corners[face, 0] < -1e-9:
            canvas.draw(alone, face, corners[face], normals[face], atlas)
    return int((canvas.face >= 0).sum())


class _Canvas:
    """Buffers of one picture; faces are drawn into them in any order."""

    def __init__(self, camera: Camera) -> None:
        h, w = camera.height, camera.width
        self.camera = camera
        self.depth = np.full((h, w), np.inf, np.float32)
        self.face = np.full((h, w), -1, np.int32)
        self.texel = np.zeros((h, w, 5), np.float32)
        self.focal = camera.K[0, 0]

    def draw(self, mesh: Mesh, face: int, corners: np.ndarray, normal: np.ndarray, atlas: Atlas) -> None:
        polygon = _clip_near(corners)
        if len(polygon) < 3:
            return
        projected = polygon @ self.camera.K.T
        points = projected[:, :2] / projected[:, 2:]
        h, w = self.depth.shape
        x0, y0 = np.maximum(np.floor(points.min(0)).astype(int), 0)
        x1, y1 = np.minimum(np.ceil(points.max(0)).astype(int), [w, h])
        if x0 >= x1 or y0 >= y1:
            return
        window = slice(y0, y1), slice(x0, x1)
        # Faces come from near to far, so most are hidden; rounding of z is far below the allowance.
        ahead = self.depth[window] > polygon[:, 2].min() * (1 - 1e-5)
        if not ahead.any():
            return
        xs, ys = np.arange(x0, x1) + 0.5, (np.arange(y0, y1) + 0.5)[:, None]
        ahead &= _inside(points, xs, ys)
        if not ahead.any():
            return
        principal = self.camera.K[:2, 2]
        rx, ry = (xs - principal[0]) / self.focal, (ys - principal[1]) / self.focal
        facing = normal[0] * rx + normal[1] * ry + normal[2]
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (normal @ corners[0]) / facing
        rows, columns = np.nonzero(ahead & (z > _NEAR) & (z < self.depth[window]))
        if not len(rows):
            return
        z, facing, rx, ry = z[rows, columns], facing[rows, columns], rx[columns], ry[rows, 0]
        u, v = (self._along(m, rx, ry, z) for m in (mesh.u[face], mesh.v[face]))
        slant = np.maximum(np.abs(facing) / np.sqrt(rx**2 + ry**2 + 1), 0.25)
        texel = atlas.sample(int(mesh.texture[face]), u, v, TEXELS * z / self.focal / slant)
        solid = texel[:, 4] > 0.5
        rows, columns = rows[solid] + y0, columns[solid] + x0
        self.depth[rows, columns] = z[solid]
        self.face[rows, columns] = face
        self.texel[rows, columns] = texel[solid]

    def shade(self, mesh: Mesh, light: Light, clouds: np.random.Generator) -> Picture:
        drawn = self.face.ravel() >= 0
        at, sky = np.flatnonzero(drawn), np.flatnonzero(~drawn)
        faces, depth = self.face.ravel()[at], self.depth.ravel()[at]
        texel = self.texel.reshape(-1, 5)[at]
        colour = texel[:, :3] * _face_light(mesh, light)[faces]
        colour *= self._occlusion(mesh, faces, at, depth)[:, None]
        if light.glow:
            colour += texel[:, 3:4] * (light.glow * np.array([1.0, 0.78, 0.42])).astype(np.float32)
        low = light.sky_low.astype(np.float32)
        colour -= low
        colour *= np.exp(-depth / 260.0)[:, None]
        colour += low
        rgb = np.empty((drawn.size, 3), np.float32)
        rgb[sky] = _sky(self.camera, light, clouds, sky)
        rgb[at] = colour
        owner = np.full(drawn.size, -1, np.int32)
        owner[at] = mesh.owner[faces]
        return Picture(rgb.reshape(*self.face.shape, 3), owner.reshape(self.face.shape), self.depth)

    def _along(self, axis: np.ndarray, rx: np.ndarray, ry: np.ndarray, z: np.ndarray) -> np.ndarray:
        """An affine map (x, y, z, 1) of world points, at the points z * (rx, ry, 1) of the camera."""
        turned = self.camera.R @ axis[:3]
        return z * (rx * turned[0] + ry * turned[1] + turned[2]) + (axis[3] - turned @ self.camera.t)

    def _occlusion(self, mesh: Mesh, faces: np.ndarray, at: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Factor on the light of pixels, given by their place in the flat picture: darker where walls meet ground."""
        rows, columns = np.divmod(at, self.camera.width)
        principal = self.camera.K[:2, 2]
        rx, ry = (columns + 0.5 - principal[0]) / self.focal, (rows + 0.5 - principal[1]) / self.focal
        height = self._along(np.array([0.0, 0.0, 1.0, 0.0]), rx, ry, depth)
        shaded = 0.62 + 0.38 * np.clip(height / 1.6, 0, 1)
        return np.where(mesh.owner[faces] != GROUND, shaded, 1.0).astype(np.float32)


def _face_light(mesh: Mesh, light: Light) -> np.ndarray:
    """Light that reaches each face, times its tint: (F, 3) float32."""
    facing = np.where(mesh.soft, 0.55, np.clip(mesh.normals @ light.sun, 0, None))
    level = light.ambient * (0.75 + 0.25 * mesh.normals[:, 2:]) + light.sun_colour * facing[:, None]
    return (level * mesh.tint).astype(np.float32)


def _inside(points: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Pixel centres inside a convex polygon of either orientation."""
    following = _following(points)
    area = np.sum(points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0])
    sign = 1.0 if area >= 0 else -1.0
    mask = np.ones((len(ys), len(xs)), bool)
    for (ax, ay), (bx, by) in zip(points, following, strict=True):
        mask &= sign * ((bx - ax) * (ys - ay)) >= sign * ((by - ay) * (xs - ax))
    return mask


def _in_frame(corners: np.ndarray, camera: Camera) -> np.ndarray:
    """Which faces (F, 4, 3) may be in the picture; those that reach behind the camera always may."""
    projected = corners @ camera.K.T
    with np.errstate(divide="ignore", invalid="ignore"):
        points = projected[..., :2] / projected[..., 2:]
    lowest, highest = points.min(1), points.max(1)
    inside = (highest > -1).all(1) & (lowest < [camera.width + 1, camera.height + 1]).all(1)
    return inside | (corners[..., 2].min(1) < _NEAR)


def _clip_near(corners: np.ndarray) -> np.ndarray:
    """The part of a polygon in front of the near plane (Sutherland and Hodgman)."""
    if corners[:, 2].min() >= _NEAR:
        return corners
    kept: list[np.ndarray] = []
    for a, b in zip(corners, _following(corners), strict=True):
        if a[2] >= _NEAR:
            kept.append(a)
        if (a[2] >= _NEAR) != (b[2] >= _NEAR):
            kept.append(a + (b - a) * (_NEAR - a[2]) / (b[2] - a[2]))
    return np.array(kept).reshape(-1, 3)


def _following(points: np.ndarray) -> np.ndarray:
    """The corner after each corner of a polygon."""
    return np.concatenate([points[1:], points[:1]])


def _sky(camera: Camera, light: Light, clouds: np.random.Generator, at: np.ndarray) -> np.ndarray:
    """Colours (N, 3) of the sky in pixels, given by their place in the flat picture."""
    h, w = camera.height, camera.width
    ys = (np.arange(h) + 0.5 - camera.K[1, 2]) / camera.K[1, 1]
    elevation = np.clip(-ys * camera.R[1, 2] * -1 + camera.R[2, 2], 0, 0.6) / 0.6
    base = light.sky_low + (light.sky_top - light.sky_low) * elevation[:, None]
    coarse, fine = (smooth_noise((h, w), w / cells, clouds).ravel()[at] for cells in (4, 14))
    veil = np.clip(coarse + 0.5 * fine - 0.65, 0, 1)
    cloud = np.clip(light.sky_low * 1.05, 0, 1)
    mix = (1.2 * veil[:, None]).clip(0, 0.85)
    return (base[at // w] * (1 - mix) + cloud * mix).astype(np.float32)


def halved(picture: np.ndarray) -> np.ndarray:
    """Means of blocks of 2 x 2 pixels; (H, W, C) to (H // 2, W // 2, C). A picture one pixel high or wide stays."""
    h, w = picture.shape[:2]
    if min(h, w) < 2:
        return picture
    upper, lower = picture[: h - h % 2 : 2], picture[1::2]
    left, right = slice(0, w - w % 2, 2), slice(1, None, 2)
    # One by one: a mean over two axes takes three times as long.
    total = upper[:, left] + upper[:, right]
    total += lower[:, left]
    total += lower[:, right]
    return total / 4
