"""Hessian keypoints, and shape and orientation of patches, by kornia (docs/protocols/oxford_bow.md, Affine frames)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from descbench.features.detectors import Detector
from descbench.features.keypoints import Keypoints, strongest, to_grey
from descbench.models.kornia_features import kornia_features

# Of all pixels, one in so many is a maximum among its neighbours at the most.
_NEIGHBOURS = 4


def hessian_detector(threshold: float | None, most: int | None, region: float, device: torch.device) -> Detector:
    """Maxima of the determinant of the Hessian over place and scale, upright.

    Args:
        threshold: least strength: the root of the determinant times sigma squared, in grey values of 0 to 255; None: 0.
        most: how many keypoints are kept; None = all.
        region: width of a patch over the size of its keypoint (2 sigma); patches reach no farther than half their
            width beyond the image.
        device: where it runs.
    """
    features = kornia_features()

    def detect(pixels: np.ndarray, grey: np.ndarray | None = None) -> Keypoints:
        image = _grey_tensor(to_grey(pixels, grey), device)
        wanted = most or image.numel() // _NEIGHBOURS
        with torch.inference_mode():
            frames, responses = features.ScaleSpaceDetector(wanted, region)(image)
        frames, responses = frames[0].double().cpu().numpy(), responses[0].double().cpu().numpy()
        sigmas = np.sqrt(np.abs(np.linalg.det(frames[:, :, :2]))) / region
        strengths = 255 * np.sqrt(np.maximum(responses, 0))
        kept = (sigmas > 0) & (strengths > (threshold or 0))
        found = Keypoints(frames[kept, :, 2], 2 * sigmas[kept], np.zeros(kept.sum()), strengths[kept])
        return strongest(found, most)

    return detect


def with_frames(
    detect: Detector, shape: nn.Module | None, orientation: nn.Module | None, region: float, device: torch.device
) -> Detector:
    """A detector whose patches have the shape and the orientation that networks give them; sizes and order stay.

    Args:
        detect: finds keypoints.
        shape: AffNet, or None.
        orientation: OriNet, or None.
        region: width of a patch over the size of its keypoint.
        device: where the networks are.
    """
    features = kornia_features()
    modules = [] if shape is None else [shape]
    if orientation is not None:
        modules.append(features.LAFOrienter(32, angle_detector=orientation))

    def detect_and_shape(pixels: np.ndarray, grey: np.ndarray | None = None) -> Keypoints:
        found = detect(pixels, grey)
        if not len(found.points):
            return found
        image = _grey_tensor(to_grey(pixels, grey), device)
        frames = torch.from_numpy(_frames(found, region)).float()[None].to(device)
        with torch.inference_mode():
            for module in modules:
                frames = module(frames, image)
        axes = frames[0, :, :, :2].double().cpu().numpy()
        axes /= np.sqrt(np.abs(np.linalg.det(axes)))[:, None, None]
        return replace(found, angles=np.arctan2(axes[:, 1, 0], axes[:, 0, 0]), shapes=axes)

    return detect_and_shape


def _frames(keypoints: Keypoints, region: float) -> np.ndarray:
    """(n, 2, 3) as kornia has them: what -1..1 of a patch is mapped by, and its middle."""
    axes = keypoints.axes() * (keypoints.sizes * (region / 2))[:, None, None]
    return np.concatenate([axes, keypoints.points[:, :, None]], 2)


def _grey_tensor(grey: np.ndarray, device: torch.device) -> torch.Tensor:
    """(1, 1, H, W) float32 in 0..1 of (H, W) uint8."""
    return torch.from_numpy(grey)[None, None].to(device).float() / 255
