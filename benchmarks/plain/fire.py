"""FIRe's extraction written down as plainly as possible.

One image, one forward for each scale (docs/protocols/fire.md, LIT to Local descriptors): what tests and the benchmark
compare with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from descbench.models.torchvision_cpu import models


class PlainFire:
    """The network's parts, from a state dict under the original's keys."""

    def __init__(self, state, architecture, skip_layer, iterations):
        children = list(getattr(models, architecture)(weights=None).children())[:-2]
        self.features = nn.Sequential(*children[: len(children) - skip_layer])
        prefix = "features."
        self.features.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        self.features.eval().to(state["dim_reduction.weight"].device)
        self.lit = {k.removeprefix("lit."): v for k, v in state.items() if k.startswith("lit.")}
        self.weight, self.bias = state["dim_reduction.weight"], state["dim_reduction.bias"]
        self.iterations = iterations

    def superfeatures(self, features):
        """Super-features (N, D) of a map (1, C, h, w)."""
        rows = self._norm("norm_inputs", features[0].flatten(1).T)
        keys, values = rows @ self.lit["project_k.weight"].T, rows @ self.lit["project_v.weight"].T
        templates = self.lit["templates_init"][0]
        for _ in range(self.iterations):
            queries = self._norm("norm_templates", templates) @ self.lit["project_q.weight"].T
            queries = queries * queries.shape[1] ** -0.5
            weights = torch.softmax(keys @ queries.T, dim=1) + 1e-8
            weights = weights / weights.sum(0)
            templates = templates + weights.T @ values
            hidden = F.relu(
                F.linear(self._norm("norm_mlp", templates), self.lit["mlp.0.weight"], self.lit["mlp.0.bias"])
            )
            templates = templates + F.linear(hidden, self.lit["mlp.2.weight"], self.lit["mlp.2.bias"])
        return templates

    def _norm(self, name, rows):
        return F.layer_norm(rows, rows.shape[1:], self.lit[f"{name}.weight"], self.lit[f"{name}.bias"])


@torch.no_grad()
def local(network, image, scales, n):
    """Descriptors, strengths, locations (0, template) and scales of the n strongest: four arrays."""
    descriptors, strengths, locations, chosen = [], [], [], []
    for scale in scales:
        scaled = F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)
        rows = network.superfeatures(network.features(scaled))
        descriptors.append(F.linear(rows, network.weight[:, :, 0, 0], network.bias))
        strengths.append((rows.pow(2).sum(1) + 1e-10).sqrt())
        templates = torch.arange(len(rows), device=rows.device)
        locations.append(torch.stack([torch.zeros_like(templates), templates], 1).to(torch.int16))
        chosen.append(torch.full((len(rows),), scale, dtype=torch.float16, device=rows.device))
    strengths = torch.cat(strengths)
    order = torch.argsort(strengths, descending=True)[:n]
    columns = (torch.cat(descriptors), strengths, torch.cat(locations), torch.cat(chosen))
    return [column[order].cpu().numpy() for column in columns]
