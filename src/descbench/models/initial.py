"""Initial weights that networks with a ResNet or VGG backbone share."""

from __future__ import annotations

import torch
from torch import nn

# Weight of the last BatchNorm of a residual block.
_BRANCH = 0.1


def reset_parameters(network: nn.Module) -> None:
    """Draw all weights, in place, as PyTorch does when it makes the modules; those of no such module in 0..1."""
    for module in network.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
            continue
        for values in module.parameters(recurse=False):
            nn.init.uniform_(values)


def draw_quiet_residuals(network: nn.Module) -> None:
    """Draw all weights, in place, from torch's random numbers.

    Residual branches start almost silent (the last BatchNorm of each block at 0.1): an untrained network
    then keeps the colours and edges of its first layers, where full branches bury them in noise. The filters
    of the first layer sum to zero, so that they see contrast, and a bright sky does not outweigh a building.
    """
    for module in network.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    # After all resets: those of a block's own BatchNorms come later than the block.
    for module in network.modules():
        for last in ("bn3", "bn2"):
            if hasattr(module, last):
                nn.init.constant_(getattr(module, last).weight, _BRANCH)
                break
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        first.weight -= first.weight.mean((1, 2, 3), keepdim=True)
