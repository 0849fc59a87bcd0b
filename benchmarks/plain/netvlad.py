"""NetVLAD's extraction written down as plainly as possible (docs/protocols/netvlad.md, NetVLAD layer).

torchvision's layers one after the other, the layer with its loop over clusters: what tests and the benchmark compare
with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from descbench.models.torchvision_cpu import models


class PlainNetVlad:
    """The network's parts, from a state dict under the original's keys."""

    def __init__(self, state, backbone):
        with torch.device("meta"):
            layers = list(getattr(models, backbone)(weights=None).features.children())[:-2]
        self.encoder = nn.Sequential(*layers)
        prefix = "encoder."
        weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        self.encoder.load_state_dict(weights, assign=True)
        self.encoder.eval()
        self.centroids = state["pool.centroids"]
        self.weight, self.bias = state["pool.conv.weight"], state.get("pool.conv.bias")


@torch.no_grad()
def describe(network, image):
    """Descriptor (1, K*D) of an image (1, 3, H, W)."""
    x = F.normalize(network.encoder(image), p=2, dim=1)
    clusters, dim = network.centroids.shape
    shares = F.softmax(F.conv2d(x, network.weight, network.bias).view(1, clusters, -1), dim=1)
    flat = x.view(1, dim, -1)
    vlad = x.new_zeros(1, clusters, dim)
    for k in range(clusters):
        residual = flat - network.centroids[k].view(1, dim, 1)
        vlad[:, k] = (residual * shares[:, k : k + 1]).sum(dim=-1)
    return F.normalize(F.normalize(vlad, p=2, dim=2).view(1, -1), p=2, dim=1)


def pool(layer, x):
    """(N, D, H, W) -> (N, K*D) with the weights of a ``NetVladPooling``."""
    x = F.normalize(x)
    shares = layer.conv(x).flatten(2).softmax(1)
    cells = x.flatten(2)
    sums = []
    for k, centre in enumerate(layer.centroids):
        differences = (cells - centre[:, None]) * shares[:, k : k + 1]
        sums.append(differences.sum(-1))
    return F.normalize(F.normalize(torch.stack(sums, 1), dim=2).flatten(1))
