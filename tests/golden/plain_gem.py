"""GeM's extraction written down as plainly as possible, in float64, as docs/protocols/gem.md has it.

Nothing of the project's: torchvision's layers one after the other, the rest in numpy.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from descbench.models.torchvision_cpu import models

EPS = 1e-6


def backbone(name, state):
    """torchvision's layers up to the last map, in float64, from a state dict under the original's keys."""
    with torch.device("meta"):
        network = getattr(models, name)(weights=None)
    layers = list(network.features.children())[:-1] if name.startswith("vgg") else list(network.children())[:-2]
    features = nn.Sequential(*layers)
    values = {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
    features.load_state_dict(values, assign=True)
    return features.double().eval()


def unit(x):
    return x / (np.linalg.norm(x) + EPS)


@torch.no_grad()
def single(features, state, image):
    """Descriptor (D,) of one scale of an image (1, 3, H, W)."""
    cells = features(image)[0].flatten(1).numpy()
    p = float(state["pool.p"])
    pooled = unit((np.maximum(cells, EPS) ** p).mean(1) ** (1 / p))
    if "whiten.weight" not in state:
        return pooled
    weight, bias = (state[f"whiten.{part}"].double().numpy() for part in ("weight", "bias"))
    return unit(weight @ pooled + bias)


def describe(features, state, image, scales, learned=None):
    """Descriptor over a pyramid; ``learned`` is the metadata's Lw of one training set."""
    levels = [
        image if s == 1 else F.interpolate(image, scale_factor=s, mode="bilinear", align_corners=False) for s in scales
    ]
    power = float(state["pool.p"]) if len(scales) > 1 and "whiten.weight" not in state else 1.0
    total = np.mean([single(features, state, level) ** power for level in levels], axis=0) ** (1 / power)
    total = total / np.linalg.norm(total)
    if learned is None:
        return total
    lw = learned["ms" if len(scales) > 1 else "ss"]
    return unit(lw["P"] @ (total - lw["m"].ravel()))
