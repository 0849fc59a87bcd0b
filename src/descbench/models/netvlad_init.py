"""Initialisation of a NetVLAD layer from clusters of local descriptors (docs/protocols/netvlad.md, Initialisation)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from descbench.models.netvlad import NetVladNet, NetVladPooling

# The softmax gives the second nearest cluster a hundredth of the nearest one's share, on average.
_LOG_RATIO = -math.log(0.01)
_BLOCK = 8192  # descriptors whose distances are held at once
# Clusters of random networks: their length, beside unit descriptors, and the sharpness of the assignment.
_DRAWN_LENGTH = 0.1
_DRAWN_ALPHA = 50.0


@dataclass(frozen=True)
class Assignment:
    """What a NetVLAD layer starts from.

    Attributes:
        alpha: sharpness of the assignment.
        weight: (K, D) float32 of its 1x1 convolution.
        bias: (K,) float32, or None for a layer without bias.
    """

    alpha: float
    weight: np.ndarray
    bias: np.ndarray | None


def assignment_by_angle(clusters: np.ndarray, descriptors: np.ndarray) -> Assignment:
    """Layer without bias (``vladv1``): directions of the clusters, as sharp as the two nearest ones differ.

    Args:
        clusters: (K, D) float32, K at least 2.
        descriptors: (n, D) float32 of unit length.
    """
    directions = clusters / np.linalg.norm(clusters, axis=1, keepdims=True)
    gaps = []
    for start in range(0, len(descriptors), _BLOCK):
        products = descriptors[start : start + _BLOCK] @ directions.T
        products.sort(axis=1)
        gaps.append(products[:, -1] - products[:, -2])
    alpha = _LOG_RATIO / float(np.mean(np.concatenate(gaps)))
    return Assignment(alpha, (alpha * directions).astype(np.float32), None)


def assignment_by_distance(
    clusters: np.ndarray, descriptors: np.ndarray, rule: Literal["paper", "pytorch"] = "paper"
) -> Assignment:
    """Layer with bias (``vladv2``): softmax of -alpha * squared distance.

    Args:
        clusters: (K, D) float32, K at least 2.
        descriptors: (n, D) float32.
        rule: ``paper``: alpha from the squared distances of each descriptor to its two nearest clusters, bias
            -alpha * |c|^2. ``pytorch``: what pytorch-NetVlad computes, three slips and all: the two nearest
            *descriptors* of each *cluster*, squares of their *indices*, and bias -alpha * |c|. Its alpha is
            without meaning, and negative at times.
    """
    norms = np.linalg.norm(clusters, axis=1)
    if rule == "paper":
        gaps = np.concatenate(
            [_gaps(descriptors[i : i + _BLOCK], clusters) for i in range(0, len(descriptors), _BLOCK)]
        )
        alpha = _LOG_RATIO / float(np.mean(gaps))
        bias = -alpha * norms**2
    else:
        nearest = np.argsort(_squared_distances(clusters, descriptors), axis=1, kind="stable")[:, :2]
        alpha = _LOG_RATIO / float(np.mean(nearest[:, 1] ** 2 - nearest[:, 0] ** 2))
        bias = -alpha * norms
    return Assignment(alpha, (2 * alpha * clusters).astype(np.float32), bias.astype(np.float32))


def initialise_pooling(
    pooling: NetVladPooling,
    clusters: np.ndarray,
    descriptors: np.ndarray,
    rule: Literal["paper", "pytorch"] = "paper",
) -> float:
    """Set a layer, in place, from the clusters (K, D) of descriptors (n, D); its bias decides the kind.

    Returns:
        alpha.
    """
    if pooling.conv.bias is None:
        start = assignment_by_angle(clusters, descriptors)
    else:
        start = assignment_by_distance(clusters, descriptors, rule)
    with torch.no_grad():
        pooling.centroids.copy_(torch.from_numpy(clusters))
        pooling.conv.weight.copy_(torch.from_numpy(start.weight)[:, :, None, None])
        if start.bias is not None:
            pooling.conv.bias.copy_(torch.from_numpy(start.bias))
    return start.alpha


def _gaps(descriptors: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """(n,) float64: squared distance to the second nearest cluster less that to the nearest."""
    distances = np.partition(_squared_distances(descriptors, clusters), 1, axis=1)
    return distances[:, 1] - distances[:, 0]


def _squared_distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n, m) float64 of (n, D) and (m, D)."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    return (one**2).sum(1)[:, None] - 2 * one @ other.T + (other**2).sum(1)


def draw_with_contrast(network: NetVladNet) -> None:
    """Draw a network, in place, whose descriptors tell images apart although nothing was learned.

    Drawn the usual way, VGG16 gives all images nearly the same output: every ReLU leaves a positive mean, which
    the next layer passes on to all locations alike, and biases outgrow what is left. Here the filters sum to
    zero, so that the mean does not get through, biases are zero, and clusters are directions of small length.
    Random numbers are torch's.
    """
    convolutions = [layer for layer in network.encoder if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        for layer in convolutions:
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            layer.weight -= layer.weight.mean((1, 2, 3), keepdim=True)
            nn.init.zeros_(layer.bias)
        if isinstance(network.pool, NetVladPooling):
            directions = F.normalize(torch.randn_like(network.pool.centroids))
            network.pool.centroids.copy_(_DRAWN_LENGTH * directions)
            network.pool.conv.weight.copy_(_DRAWN_ALPHA * directions[:, :, None, None])
            if network.pool.conv.bias is not None:
                nn.init.zeros_(network.pool.conv.bias)
