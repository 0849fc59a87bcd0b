"""Matching accuracy and homographies as HNDesc's evaluation reads (docs/protocols/hpatches_sequences.md)."""

from __future__ import annotations

import cv2
import numpy as np
import torch

Image = tuple[np.ndarray, np.ndarray]


def score_pair(first: Image, second: Image, homography: np.ndarray, size: tuple[int, int]) -> tuple[list[float], float]:
    """MMA at 1 to 10 pixels, and the error of the corners.

    Args:
        first, second: (N, 2) float32 places and (N, D) float32 descriptors of unit length of both images.
        homography: (3, 3) float64 from the first image to the second.
        size: width and height of the second image.
    """
    matches = mutual_matches(torch.from_numpy(first[1]), torch.from_numpy(second[1]))
    points, others = first[0][matches[:, 0]], second[0][matches[:, 1]]
    errors = np.linalg.norm(_mapped(points.astype(np.float64), homography) - others, axis=1)
    accuracy = [float((errors <= threshold).mean()) for threshold in range(1, 11)]
    cv2.setRNGSeed(0)
    found, _ = cv2.findHomography(points, others, cv2.RANSAC, 3.0, maxIters=5000, confidence=0.9995)
    width, height = size
    corners = np.array([(0, 0), (0, height - 1), (width - 1, height - 1), (width - 1, 0)], np.float64)
    return accuracy, float(np.linalg.norm(_mapped(corners, found) - _mapped(corners, homography), axis=1).mean())


def mutual_matches(rows: torch.Tensor, others: torch.Tensor) -> np.ndarray:
    """(M, 2) mutual nearest neighbours by the whole matrix of distances."""
    distances = (2 - 2 * rows @ others.T).clamp(min=0).sqrt()
    forth, back = distances.argmin(1), distances.argmin(0)
    ids = torch.arange(len(rows))
    kept = back[forth] == ids
    return torch.stack((ids[kept], forth[kept]), 1).numpy()


def _mapped(points: np.ndarray, homography: np.ndarray) -> np.ndarray:
    found = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return found[:, :2] / found[:, 2:]
