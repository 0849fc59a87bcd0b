"""The NetVLAD layer as the fact sheet writes it down (netvlad.md section 3): cluster by cluster."""

import torch
import torch.nn.functional as F


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
