"""Pinhole cameras and meshes of textured planar faces.

World axes: x east, y north, z up, in metres. Camera axes: x right, y down, z forward. Image
coordinates are continuous, and the centre of the top-left pixel is (0.5, 0.5) (the convention of
COLMAP); the principal point is the middle of the image.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MAX_CORNERS = 5
GROUND = 0
PROP = 10_000


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: a world point X is seen at K (R X + t).

    Attributes:
        K: (3, 3) intrinsics in pixels.
        R, t: (3, 3) rotation and (3,) translation from world to camera.
        width, height: image size in pixels.
    """

    K: np.ndarray
    R: np.ndarray
    t: np.ndarray
    width: int
    height: int

    @property
    def centre(self) -> np.ndarray:
        """(3,) position of the camera in the world."""
        return -self.R.T @ self.t

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image coordinates (N, 2) and depths (N,) of world points (N, 3)."""
        local = points @ self.R.T + self.t
        pixels = local @ self.K.T
        return pixels[:, :2] / pixels[:, 2:], local[:, 2]

    def scaled(self, factor: float) -> Camera:
        """The same view on a pixel grid ``factor`` times as fine (sizes are rounded)."""
        scale = np.diag([factor, factor, 1.0])
        return Camera(scale @ self.K, self.R, self.t, round(self.width * factor), round(self.height * factor))

    def padded(self, border: int) -> Camera:
        """The same view with ``border`` more pixels on every side."""
        shift = np.array([[1.0, 0, border], [0, 1, border], [0, 0, 1]])
        return Camera(shift @ self.K, self.R, self.t, self.width + 2 * border, self.height + 2 * border)


def look_at(eye: np.ndarray, target: np.ndarray, fov: float, width: int, height: int, roll: float = 0.0) -> Camera:
    """A camera at ``eye`` that sees ``target`` in its middle.

    Args:
        eye, target: (3,) world points, not one above the other.
        fov: horizontal field of view, radians.
        width, height: image size in pixels.
        roll: turn about the optical axis, radians.
    """
    forward = np.asarray(target, float) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cos, sin = np.cos(roll), np.sin(roll)
    rotation = np.stack([cos * right + sin * down, cos * down - sin * right, forward])
    focal = width / 2 / np.tan(fov / 2)
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Camera(intrinsics, rotation, -rotation @ eye, width, height)


@dataclass(frozen=True)
class Mesh:
    """Convex planar faces, counter-clockwise when seen from outside; only that side is visible.

    Attributes:
        corners: (F, 5, 3) world points; faces of fewer corners repeat their last one.
        normals: (F, 3) unit outward normals.
        texture: (F,) texture numbers of the atlas.
        u, v: (F, 4) maps of a world point (x, y, z, 1) to texture coordinates in texels.
        tint: (F, 3) factor on the texture's colour.
        owner: (F,) building number; 0 is the ground, numbers from ``PROP`` are movable things.
        soft: (F,) faces shaded as a volume (foliage, people) instead of as a plane.
    """

    corners: np.ndarray
    normals: np.ndarray
    texture: np.ndarray
    u: np.ndarray
    v: np.ndarray
    tint: np.ndarray
    owner: np.ndarray
    soft: np.ndarray

    def __len__(self) -> int:
        return len(self.corners)

    def of_owner(self, owner: int) -> Mesh:
        """The faces of one building."""
        return self.take(np.flatnonzero(self.owner == owner))

    def take(self, index: np.ndarray) -> Mesh:
        """The faces ``index``."""
        return Mesh(*(getattr(self, name)[index] for name in _MESH_FIELDS))

    def plus(self, other: Mesh) -> Mesh:
        """The faces of both, this mesh's first."""
        return Mesh(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in _MESH_FIELDS))


_MESH_FIELDS = tuple(Mesh.__dataclass_fields__)


@dataclass
class MeshBuilder:
    """Collects faces given in a local frame (turned by ``yaw`` and moved to ``origin``)."""

    owner: int = GROUND
    yaw: float = 0.0
    origin: tuple[float, float] = (0.0, 0.0)
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    soft: bool = False
    _faces: list[tuple] = field(default_factory=list)

    def place(self, owner: int, yaw: float, origin: tuple[float, float], tint=(1.0, 1.0, 1.0)) -> MeshBuilder:
        """Set the frame, number and tint of the faces that follow."""
        self.owner, self.yaw, self.origin, self.tint = owner, yaw, origin, tuple(tint)
        return self

    def add(self, corners: np.ndarray, texture: int, origin: np.ndarray, right: np.ndarray, down: np.ndarray) -> None:
        """Add one face.

        Args:
            corners: (3 to 5, 3) local points, counter-clockwise from outside.
            texture: texture number.
            origin: (3,) local point where the texture's top-left corner lies.
            right, down: (3,) texels per metre along the texture's axes, as local vectors.
        """
        turn = _yaw_matrix(self.yaw)
        shift = np.array([*self.origin, 0.0])
        world = np.asarray(corners, float) @ turn.T + shift
        padded = world[np.minimum(np.arange(MAX_CORNERS), len(world) - 1)]
        start = np.asarray(origin, float) @ turn.T + shift
        maps = [np.append(axis, -axis @ start) for axis in (np.asarray(a, float) @ turn.T for a in (right, down))]
        self._faces.append((padded, _normal(world), texture, *maps, self.tint, self.owner, self.soft))

    def build(self) -> Mesh:
        """All faces so far as arrays."""
        if not self._faces:
            shapes = ((MAX_CORNERS, 3), (3,), (), (4,), (4,), (3,), (), ())
            columns = [np.zeros((0, *shape)) for shape in shapes]
        else:
            columns = [np.array(column) for column in zip(*self._faces, strict=True)]
        kinds = (float, float, np.int64, float, float, float, np.int64, bool)
        return Mesh(*(column.astype(kind) for column, kind in zip(columns, kinds, strict=True)))


def _yaw_matrix(yaw: float) -> np.ndarray:
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])


def _normal(corners: np.ndarray) -> np.ndarray:
    """Unit normal by Newell's sum, which bears repeated and nearly collinear corners."""
    following = np.roll(corners, -1, axis=0)
    normal = np.cross(corners, following).sum(axis=0)
    return normal / np.linalg.norm(normal)
