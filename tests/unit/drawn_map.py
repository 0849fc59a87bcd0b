"""A small scene of points seen by cameras on an arc, for tests of localisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descbench.datasets.cameras import Camera, Pose
from descbench.localization.colmap import PosedImages, to_camera, to_rigid

CAMERA = Camera("SIMPLE_RADIAL", 640, 480, (600.0, 320.0, 240.0, 0.02))


@dataclass(frozen=True)
class Scene:
    """Points of the world, and keypoints of each image: all points, in an order of each image's own."""

    points: np.ndarray
    poses: list[Pose]
    keypoints: list[np.ndarray]
    orders: list[np.ndarray]

    def images(self, chosen: list[int]) -> PosedImages:
        names = [f"db/{i}.jpg" for i in chosen]
        poses, keypoints = ([part[i] for i in chosen] for part in (self.poses, self.keypoints))
        return PosedImages(names, [CAMERA] * len(chosen), poses, keypoints)

    def matches(self, a: int, b: int, wrong: float = 0.2) -> np.ndarray:
        """Matches of two images, a share of them wrong."""
        first, second = np.argsort(self.orders[a]), np.argsort(self.orders[b])
        pairs = np.stack([first, second], axis=1)
        count = int(wrong * len(pairs))
        pairs[:count, 1] = np.roll(pairs[:count, 1], 1)
        return pairs[np.argsort(pairs[:, 0])]


def draw_scene(count: int = 6, points: int = 120, noise: float = 0.3, seed: int = 0) -> Scene:
    random = np.random.default_rng(seed)
    world = random.uniform((-3, -2, 6), (3, 2, 10), (points, 3))
    poses, keypoints, orders = [], [], []
    for number in range(count):
        turn, tilt = np.deg2rad(8.0 * (number - count / 2)), np.deg2rad(1.5 * number)
        half = turn / 2
        w, x, y, z = np.cos(half), np.sin(tilt / 2), np.sin(half), 0.0
        length = np.sqrt(w * w + x * x + y * y)
        pose = Pose((w / length, x / length, y / length, z), (0.8 * number - 2.0, 0.1 * number, 0.3))
        seen = to_rigid(pose) * world
        places = to_camera(CAMERA, 1).img_from_cam(seen) + random.normal(0, noise, (points, 2))
        orders.append(random.permutation(points))
        poses.append(pose)
        keypoints.append(places[orders[-1]].astype(np.float32))
    return Scene(world, poses, keypoints, orders)
