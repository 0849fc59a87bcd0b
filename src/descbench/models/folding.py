"""Networks made ready to be run and never trained again: BatchNorm folded into convolutions, channels last."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from descbench.models.torchvision_cpu import models

# Modules that run their children in the order in which they hold them, as far as convolutions go.
_IN_ORDER = (nn.Sequential, models.resnet.BasicBlock, models.resnet.Bottleneck)


def prepare_for_inference(network: nn.Module) -> nn.Module:
    """Rewrite a network, in place, to what runs fastest; descriptors move by rounding alone (about 1e-6).

    The state dict is no longer the checkpoint's, and there are no gradients: never save or train the result.

    Args:
        network: on the CPU or a GPU; put into eval mode, and no more where it says that it is not rewritable.

    Returns:
        The same network.
    """
    if not getattr(network, "rewritable", True):
        return network.eval().requires_grad_(False)
    fold_batch_norm(network.eval())
    return network.requires_grad_(False).to(memory_format=torch.channels_last)


def fold_batch_norm(network: nn.Module) -> None:
    """Fold every BatchNorm that follows a convolution into it, in place; ``network`` must be in eval mode.

    Only inside modules known to run their children in order (sequences and torchvision's residual
    blocks); a BatchNorm anywhere else stays what it is.
    """
    for parent in list(network.modules()):
        if not isinstance(parent, _IN_ORDER):
            continue
        names = list(parent._modules)
        for first, second in pairwise(names):
            convolution, norm = parent._modules[first], parent._modules[second]
            if type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
                parent._modules[first] = fuse_conv_bn_eval(convolution, norm)
                parent._modules[second] = nn.Identity()
