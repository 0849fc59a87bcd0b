"""What FIRe adds to training on tuples: its losses, and mirrored images (docs/protocols/fire.md, Training)."""

from __future__ import annotations

import torch

from descbench.config.training import FireTraining
from descbench.losses.decorrelation import decorrelation_loss
from descbench.losses.superfeatures import superfeature_loss
from descbench.training.tuples import TupleRecipe


class FireRecipe(TupleRecipe):
    """Tuples compared super-feature by super-feature; every image is mirrored or not by a draw of its own."""

    settings: FireTraining

    def loss(self, item: list[torch.Tensor]) -> torch.Tensor:
        """Weighted losses of a tuple."""
        settings = self.settings
        with self.precision():
            rows, attentions = zip(*map(self.network.superfeatures, item), strict=True)
            contrast, _ = superfeature_loss(
                rows[0],
                rows[1],
                rows[2:],
                margin=settings.margin,
                ratio=settings.ratio,
                threshold=settings.ratio_threshold,
            )
            return settings.superfeature_weight * contrast + settings.attention_weight * decorrelation_loss(attentions)

    def flips(self, *shape: int) -> torch.Tensor:
        """Drawn anew for mining and for every tuple; the original draws in its loader, in another order."""
        return torch.rand(shape) < self.settings.flip
