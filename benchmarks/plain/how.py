"""HOW's extraction written down as plainly as possible.

One image, one forward for each scale (docs/protocols/how.md, Network to Local descriptors): what tests and the
benchmark compare with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from descbench.models.torchvision_cpu import models


class PlainHow:
    """The network's parts, from a state dict under the original's keys."""

    def __init__(self, state, architecture, skip_layer):
        children = list(getattr(models, architecture)(weights=None).children())[:-2]
        self.features = nn.Sequential(*children[: len(children) - skip_layer])
        prefix = "features."
        self.features.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        self.features.eval().to(state["dim_reduction.weight"].device)
        self.weight, self.bias = state["dim_reduction.weight"], state["dim_reduction.bias"]

    def maps(self, image, scale):
        """Descriptors (1, D, h, w) and raw attention (h, w) of one scale."""
        scaled = F.interpolate(
            image, scale_factor=scale, mode="bilinear", align_corners=False, recompute_scale_factor=True
        )
        features = self.features(scaled)
        attention = (features.pow(2).sum(1) + 1e-10).sqrt().squeeze(0)
        smoothed = F.avg_pool2d(features, 3, stride=1, padding=1, count_include_pad=False)
        return F.conv2d(smoothed, self.weight, self.bias), attention


@torch.no_grad()
def local(network, image, scales, n):
    """Descriptors, attention, locations (x, y in cells) and scales of the n strongest: four arrays."""
    maps = [network.maps(image, scale) for scale in scales]
    strongest = max(float(attention.max()) for _, attention in maps)
    descriptors, strengths, locations, chosen = [], [], [], []
    for scale, (reduced, attention) in zip(scales, maps, strict=True):
        height, width = attention.shape
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        device = attention.device
        descriptors.append(reduced[0].flatten(1).T)
        strengths.append((attention / strongest).flatten())
        locations.append(torch.stack([x.flatten(), y.flatten()], 1).to(device, torch.int16))
        chosen.append(torch.full((height * width,), scale, dtype=torch.float16, device=device))
    strengths = torch.cat(strengths)
    order = torch.argsort(strengths, descending=True)[:n]
    columns = (torch.cat(descriptors), strengths, torch.cat(locations), torch.cat(chosen))
    return [column[order].cpu().numpy() for column in columns]
