"""HardNet's extraction written down as plainly as possible (docs/protocols/hardnet.md, Network): eager, all at once."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import nn

MEAN, STD = 0.443728476019, 0.20197947209


class PlainHardNet(nn.Module):
    """The seven layers, from a state dict under the original's keys."""

    def __init__(self, state):
        super().__init__()
        layers = []
        for before, after, stride in ((1, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)):
            layers += [nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(after, affine=False), nn.ReLU()]
        layers += [nn.Dropout(0.3), nn.Conv2d(128, 128, 8, bias=False), nn.BatchNorm2d(128, affine=False)]
        self.features = nn.Sequential(*layers)
        self.load_state_dict(state)
        self.eval()


@torch.no_grad()
def describe(network, patches):
    """(N, 128) descriptors of (N, H, W) uint8 patches."""
    small = np.stack([cv2.resize(patch, (32, 32)) for patch in patches])
    x = ((torch.from_numpy(small).float() / 255 - MEAN) / STD)[:, None]
    flat = x.view(len(x), -1)
    mean, std = flat.mean(dim=1), flat.std(dim=1) + 1e-7
    x = network.features((x - mean.view(-1, 1, 1, 1)) / std.view(-1, 1, 1, 1)).view(len(x), -1)
    return (x / torch.sqrt((x * x).sum(dim=1, keepdim=True) + 1e-10)).numpy()
