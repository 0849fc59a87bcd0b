"""What finds keypoints in an image (docs/protocols/oxford_bow.md, Keypoints and patches)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from descbench.errors import ConfigError
from descbench.features.images import to_tensor
from descbench.features.keypoints import Keypoints, strongest, to_grey
from descbench.models.points import PointNetwork


class Detector(Protocol):
    """Finds the strongest keypoints in (H, W, 3) uint8 pixels; (H, W) uint8 grey ones, where the image has its own."""

    def __call__(self, pixels: np.ndarray, grey: np.ndarray | None = None) -> Keypoints:
        """The keypoints, strongest first."""


# OpenCV's ORB wants a number; no image has as many corners.
_ALL_OF_ORB = 2**20


def opencv_detector(name: str, most: int | None) -> Detector:
    """A detector of OpenCV with its own settings.

    Args:
        name: one of :data:`OPENCV`.
        most: how many keypoints are kept; None = all.

    Raises:
        ConfigError: this build of OpenCV does not have it.
    """
    detector = OPENCV[name](most)

    def detect(pixels: np.ndarray, grey: np.ndarray | None = None) -> Keypoints:
        found = detector.detect(to_grey(pixels, grey), None)
        rows = np.array([(*k.pt, k.size, k.angle, k.response) for k in found], np.float64).reshape(-1, 5)
        return strongest(Keypoints(rows[:, :2], rows[:, 2], np.deg2rad(rows[:, 3]), rows[:, 4]), most)

    return detect


def network_detector(network: PointNetwork, most: int | None, device: torch.device, *, described: bool) -> Detector:
    """A network that finds keypoints; those that it gives no orientation are upright.

    Args:
        network: one that finds points.
        most: how many keypoints are kept; None = all.
        device: where the network is.
        described: whether the descriptors that it gives with them are wanted.
    """

    def detect(pixels: np.ndarray, grey: np.ndarray | None = None) -> Keypoints:
        found = network.find_points(image_tensor(pixels, network, device, grey), most)
        points, sizes, scores = (values.double().cpu().numpy() for values in (found.points, found.sizes, found.scores))
        wanted = described and found.descriptors is not None
        descriptors = found.descriptors.float().cpu().numpy() if wanted else None
        return strongest(Keypoints(points, sizes, np.zeros(len(points)), scores, descriptors), most)

    return detect


def image_tensor(
    pixels: np.ndarray, network: PointNetwork, device: torch.device, grey: np.ndarray | None = None
) -> torch.Tensor:
    """(1, C, H, W) float32 of (H, W, 3) uint8 as a network wants it: grey or in colours, and normalised."""
    if network.channels == 1:
        pixels = to_grey(pixels, grey)[:, :, None]
    return to_tensor(pixels, network.mean, network.std)[None].to(device)


def _sift(most: int | None) -> Any:
    return cv2.SIFT_create()


def _orb(most: int | None) -> Any:
    return cv2.ORB_create(nfeatures=_ALL_OF_ORB if most is None else most)


def _akaze(most: int | None) -> Any:
    # Since version 5 it is among OpenCV's contributed modules, which not every build has.
    made_by = cv2 if hasattr(cv2, "AKAZE_create") else getattr(cv2, "xfeatures2d", None)
    if not hasattr(made_by, "AKAZE_create"):
        raise ConfigError(
            f"detector akaze: OpenCV {cv2.__version__} was installed without its contributed modules; install "
            "opencv-contrib-python-headless instead of opencv-python-headless, or take another detector."
        )
    return made_by.AKAZE_create()


OPENCV: dict[str, Callable[[int | None], Any]] = {"sift": _sift, "orb": _orb, "akaze": _akaze}
