"""Training of NetVLAD: triplets of places, mined anew for every piece of an epoch.

Definition: docs/protocols/netvlad.md, Training; docs/protocols/netvlad.md, Hard negatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from descbench.config.networks import NetVladModel
from descbench.config.training import NetVladTraining
from descbench.datasets.places import PlaceLabels
from descbench.device import mixed_precision
from descbench.errors import DataError
from descbench.losses.triplet import triplet_loss
from descbench.models.netvlad_files import RunState, write_run
from descbench.training.distributed import barrier, is_main, local_slice
from descbench.training.hard_negatives import mine_place
from descbench.training.images import TrainingImages
from descbench.training.loop import Plan, State

# Images of one forward while descriptors of all images are made.
_CHUNK = 24
_NONE = -1


@dataclass(frozen=True)
class Triplets:
    """Images of a step, or of a share of it.

    Attributes:
        counts: negatives of each query.
        images: queries, positives, then the negatives of the first query, of the second...: (1, 3, H, W) each.
        part: of the step's negatives that these are.
    """

    counts: list[int]
    images: list[torch.Tensor]
    part: float


class NetVladRecipe:
    """SGD (or Adam) on triplets.

    Args:
        network: on its device; layers below ``settings.first_layer`` are frozen here.
        images: database images, then query images.
        labels: which images show a query's place.
        settings: block of the configuration.
        device: where the network is.
        folder: descriptors of all images lie there while a piece is planned.

    Raises:
        DataError: no query has a positive to train with.
    """

    def __init__(
        self,
        network: nn.Module,
        images: TrainingImages,
        labels: PlaceLabels,
        settings: NetVladTraining,
        device: torch.device,
        folder: Path,
    ) -> None:
        self.network, self.settings, self.device = network, settings, device
        self._images, self._labels, self._folder = images, labels, folder
        self._num_database = len(images.paths) - len(labels.positives)
        usable = [query for query, found in enumerate(labels.training_positives) if found]
        if not usable:
            raise DataError("no query has a training positive: the radius is too small, or the positions are wrong.")
        self.pieces = math.ceil(len(usable) / settings.refresh) if settings.refresh else 1
        self._queries = np.array_split(np.array(usable), self.pieces)
        self.memory = {"negatives": torch.full((len(labels.positives), settings.negatives), _NONE)}
        trained = list(network.trained_parameters(settings.first_layer).values())
        network.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)
        self.optimiser = _optimiser(trained, settings)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimiser, _schedule(settings))
        self.schedule = "epoch"

    def plan(self, epoch: int, piece: int) -> Plan:
        """Mine the tuples of a piece with the network as it is now; their order is shuffled."""
        random = np.random.default_rng([self.settings.seed, epoch, piece])
        queries = random.permutation(self._queries[piece])
        path = self._folder / "descriptors.npy"
        try:
            tuples = self._mine(queries, self._describe_all(path), random)
        finally:
            path.unlink(missing_ok=True)
        mined = (tuples[:, 2:] != _NONE).sum(1)
        figures = {"negatives_a_query": float(mined.mean()), "passed_over": float((mined == 0).mean())}
        steps = math.ceil(len(tuples) / self.settings.batch)
        return Plan({"tuples": torch.from_numpy(tuples)}, steps, figures)

    def batches(self, plan: Plan, first: int) -> Iterator[list[Triplets]]:
        """The steps of a piece, each a single item, or none where all its queries are passed over.

        The last step may be smaller.
        """
        steps = [self._tuples(plan, step) for step in range(first, plan.steps)]
        loader = self._images.loader([self._ids(step[local_slice()]) for step in steps], workers=self.settings.workers)
        self.network.train()
        for step, images in zip(steps, loader, strict=True):
            counts = [len(row) - 2 for row in step[local_slice()]]
            part = sum(counts) / max(1, sum(len(row) - 2 for row in step))
            yield [Triplets(counts, [image.to(self.device) for image in images], part)] if counts else []

    def loss(self, item: Triplets) -> torch.Tensor:
        """Mean over the negatives of the step, of which an item may hold a part."""
        with mixed_precision(self.device, self.settings.amp):
            loss = triplet_loss(_forward(self.network, item.images), item.counts, self.settings.margin)
        return item.part * loss

    def recorded(self, losses: list[float]) -> list[float]:
        """The step's: 0 where all its queries are passed over."""
        return [math.fsum(losses)]

    def names(self, plan: Plan, step: int) -> list[str]:
        """Files of the images of a step."""
        return [str(self._images.paths[image]) for image in dict.fromkeys(self._ids(self._tuples(plan, step)))]

    def _tuples(self, plan: Plan, step: int) -> list[list[int]]:
        """Query, positive and negatives of a step's queries that have negatives."""
        size = self.settings.batch
        rows = plan.tensors["tuples"][step * size : (step + 1) * size].tolist()
        return [[image for image in row if image != _NONE] for row in rows if row[2] != _NONE]

    def _ids(self, tuples: list[list[int]]) -> list[int]:
        """Image ids of tuples in the order of the loss."""
        ids = [self._num_database + row[0] for row in tuples] + [row[1] for row in tuples]
        return ids + [image for row in tuples for image in row[2:]]

    def _mine(self, queries: np.ndarray, descriptors: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Query, positive and negatives of each query: (n, 2 + negatives) int64, padded with -1."""
        tuples = np.full((len(queries), 2 + self.settings.negatives), _NONE)
        for row, query in zip(tuples, queries.tolist(), strict=True):
            row[0] = query
            candidates = self._candidates(query, random)
            try:
                mined = mine_place(
                    descriptors[self._num_database + query],
                    descriptors[: self._num_database],
                    np.array(self._labels.training_positives[query]),
                    candidates,
                    margin=self.settings.margin,
                    wanted=self.settings.negatives,
                )
            except ValueError as error:
                name = self._images.paths[self._num_database + query]
                raise DataError(f"{name}: {error}. Raise `pool` or lower `negatives` of the training block.") from error
            row[1] = mined.positive
            row[2 : 2 + len(mined.negatives)] = mined.negatives
            self._remember(query, row[2:])
        return tuples

    def _candidates(self, query: int, random: np.random.Generator) -> np.ndarray:
        """Images far from a query's place: some drawn, and those that it had last."""
        far = np.setdiff1d(np.arange(self._num_database), self._labels.positives[query], assume_unique=True)
        if not len(far):
            raise DataError(f"query {query}: every database image lies within {self._labels.radius} m of it.")
        remembered = self.memory["negatives"][query].numpy()
        return np.concatenate([random.choice(far, self.settings.pool), remembered[remembered != _NONE]])

    def _remember(self, query: int, negatives: np.ndarray) -> None:
        """A query that is passed over keeps those it had."""
        if self.settings.cache_negatives and negatives[0] != _NONE:
            self.memory["negatives"][query] = torch.from_numpy(negatives.copy())

    def _describe_all(self, path: Path) -> np.ndarray:
        """Descriptors of all images, database first, in a file that is mapped: (images, D) float32.

        Processes fill the file together, chunks in turn.
        """
        self.network.eval()
        total = len(self._images.paths)
        chunks = [range(start, min(start + _CHUNK, total)) for start in range(0, total, _CHUNK)][local_slice()]
        if is_main():
            np.lib.format.open_memmap(path, "w+", np.float32, (total, self.network.dim))
        barrier()
        descriptors = np.lib.format.open_memmap(path, "r+")
        loader = self._images.loader(chunks, workers=self.settings.workers, label="mining")
        with torch.inference_mode():
            for chunk, images in zip(chunks, loader, strict=True):
                found = _forward(self.network, [image.to(self.device) for image in images])
                descriptors[chunk.start : chunk.stop] = found.float().cpu().numpy()
        barrier()
        return descriptors


def _forward(network: nn.Module, images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Descriptors (n, D) of images (1, 3, H, W): all at once if they are of one size."""
    if len({image.shape for image in images}) == 1:
        return network(torch.cat(list(images)))
    return torch.cat([network(image) for image in images])


def _optimiser(parameters: list[nn.Parameter], settings: NetVladTraining) -> torch.optim.Optimizer:
    if settings.optimiser == "adam":
        return torch.optim.Adam(parameters, settings.learning_rate)
    return torch.optim.SGD(
        parameters, settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
    )


def _schedule(settings: NetVladTraining) -> Callable[[int], float]:
    """Factor of the learning rate after so many epochs: the original sets its schedule to e before epoch e, from 1."""
    if settings.optimiser == "adam":
        return lambda done: 1.0
    return lambda done: settings.gamma ** ((done + 1) // settings.step)


def write_training_run(
    folder: Path, model: NetVladModel, recipe: NetVladRecipe, state: State, settings: NetVladTraining
) -> None:
    """Write ``run`` in the folder: the training as pytorch-NetVlad would have left it, for its own tools."""
    scores = {row["epoch"]: row["score"] for row in state.history}

    def checkpoint(epoch: int, weights: Mapping[str, torch.Tensor]) -> RunState:
        score = scores[epoch]
        recalls = {} if score is None else {int(settings.validation.metric.rpartition("@")[2]): score}
        return RunState(epoch, weights, recalls, state.best.score or 0.0, recipe.optimiser.state_dict())

    latest = {key: value.cpu() for key, value in recipe.network.state_dict().items()}
    runs = checkpoint(state.epoch, latest), checkpoint(state.best.epoch, state.weights)
    write_run(folder / "run", model, *runs, settings)
