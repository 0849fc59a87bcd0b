"""Training on mined tuples: all of HOW's (docs/protocols/how.md, Training), and what other methods share with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from descbench.config.training import TupleTraining
from descbench.device import mixed_precision
from descbench.errors import DataError
from descbench.training.distributed import all_gather, local_slice
from descbench.training.images import TrainingImages
from descbench.training.loop import Plan
from descbench.training.mining import Pairs, mine_tuples
from descbench.training.random_state import seed_everything
from descbench.training.steps import freeze_batch_norm_statistics, tuple_loss


class TupleRecipe:
    """Adam on tuples of a query, its positive and hard negatives, mined anew for each epoch.

    Args:
        network: already on its device.
        images: the training images.
        pairs: their clusters and pairs.
        settings: block of the configuration.
        device: where the network is.
    """

    def __init__(
        self, network: nn.Module, images: TrainingImages, pairs: Pairs, settings: TupleTraining, device: torch.device
    ) -> None:
        self.network, self.settings, self.device = network, settings, device
        self._images, self._pairs = images, pairs
        groups = [group for group in network.parameter_groups(settings.learning_rate) if group["params"]]
        self.optimiser = torch.optim.Adam(groups, weight_decay=settings.weight_decay)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimiser, settings.gamma)
        self.schedule, self.pieces, self.memory = "epoch", 1, {}
        self.labels = torch.tensor([-1, 1] + [0] * settings.negatives, device=device)

    def plan(self, epoch: int, piece: int) -> Plan:
        """Mine the tuples of an epoch and shuffle them; tuples that fill no whole step are left out."""
        seed_everything(epoch)
        settings = self.settings
        try:
            mined = mine_tuples(
                self._pairs,
                self.describe,
                negatives=settings.negatives,
                query_size=settings.queries,
                pool_size=settings.pool,
            )
        except ValueError as error:
            raise DataError(
                f"mining for epoch {epoch}: {error}. Raise `pool` or lower `negatives` of the training block."
            ) from error
        tuples = np.column_stack([mined.queries, mined.positives, mined.negatives])
        steps = len(tuples) // settings.batch
        if not steps:
            raise DataError(f"{len(tuples)} tuples an epoch do not fill one step of {settings.batch}; lower `batch`.")
        chosen = torch.from_numpy(tuples)[torch.randperm(len(tuples))[: steps * settings.batch]]
        tensors = {"tuples": chosen, "flips": self.flips(*chosen.shape)}
        return Plan(tensors, steps, {"mean_negative_distance": mined.mean_negative_distance})

    def batches(self, plan: Plan, first: int) -> Iterator[list[list[torch.Tensor]]]:
        """Lists of tuples, each a list of images (1, 3, H, W)."""
        size = len(range(self.settings.batch)[local_slice()])
        steps = (plan.tensors[name].unflatten(0, (plan.steps, -1)) for name in ("tuples", "flips"))
        sets, flips = (tensor[first:, local_slice()].flatten(0, 1) for tensor in steps)
        loaded = iter(self._images.loader(sets.tolist(), flips, workers=self.settings.workers))
        self.network.train()
        freeze_batch_norm_statistics(self.network)
        for _ in range(first, plan.steps):
            yield [[image.to(self.device) for image in next(loaded)] for _ in range(size)]

    def loss(self, item: list[torch.Tensor]) -> torch.Tensor:
        """Contrastive loss of a tuple."""
        with self.precision():
            loss, _ = tuple_loss(self.network, item, self.labels, self.settings.margin)
        return loss

    def recorded(self, losses: list[float]) -> list[float]:
        """Those of the tuples."""
        return losses

    def flips(self, *shape: int) -> torch.Tensor:
        """Which images are mirrored, of a set of this shape: none."""
        return torch.zeros(shape, dtype=torch.bool)

    def precision(self) -> torch.autocast:
        """bfloat16 where it is asked for; its range needs no scaling of the loss."""
        return mixed_precision(self.device, self.settings.amp)

    def names(self, plan: Plan, step: int) -> list[str]:
        """Files of the images of a step."""
        size = self.settings.batch
        tuples = plan.tensors["tuples"][step * size : (step + 1) * size]
        return [str(self._images.paths[image]) for image in dict.fromkeys(tuples.flatten().tolist())]

    def describe(self, chosen: Sequence[int]) -> np.ndarray:
        """Global descriptors (len, D) at scale 1 of images, in eval mode."""
        self.network.eval()
        # Drawn for all images in every process, so that all go on with the same random numbers.
        flips = self.flips(len(chosen), 1)
        mine = [[image] for image in chosen[local_slice()]]
        loader = self._images.loader(mine, flips[local_slice()], workers=self.settings.workers, label="mining")
        with torch.inference_mode():
            rows = [self.network(image.to(self.device)).cpu().numpy() for (image,) in loader]
        return np.concatenate(all_gather(rows))
