"""The training loop that all methods share: state, resume, history, the best epoch, an early end.

What differs between methods is a :class:`Recipe`. An epoch is one piece or several, and all randomness of a piece
is decided in its plan, so that a training that was killed and resumed gives the weights of one that ran through,
bit for bit. With several processes (:mod:`descbench.training.distributed`) all go through the same states; the first
one validates and writes.
"""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from time import monotonic
from types import FrameType
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from descbench.errors import DataError
from descbench.io.csvfiles import write_csv
from descbench.io.seal import check_seal
from descbench.listing import listed
from descbench.models.sealed import write_sealed
from descbench.progress import duration, progress
from descbench.signals import leave, on_stop
from descbench.training.distributed import SharedGradients, barrier, broadcast, in_any, is_main
from descbench.training.random_state import random_state, restore_random_state

_FORMAT = 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """All that a piece of an epoch will do.

    Attributes:
        tensors: what the recipe needs for it (tuples, flips...).
        steps: number of optimiser steps.
        figures: numbers for the history, averaged over the pieces of an epoch.
    """

    tensors: dict[str, torch.Tensor]
    steps: int
    figures: dict[str, float]


class Recipe(Protocol):
    """What a method adds to the loop.

    Attributes:
        scheduler: of the learning rate.
        schedule: whether the scheduler steps after each optimiser step or after each epoch.
        pieces: parts of an epoch, each planned when the one before is done.
        memory: tensors that a plan leaves for later ones; kept in the state.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    schedule: Literal["step", "epoch"]
    pieces: int
    memory: dict[str, torch.Tensor]

    def plan(self, epoch: int, piece: int) -> Plan:
        """Decide everything about a piece (from 0) of an epoch (from 1): seeds, tuples, order, augmentation.

        Every process plans, for what the recipe shares out in it; the first one's plan counts.
        """

    def batches(self, plan: Plan, first: int) -> Iterator[list[Any]]:
        """For each step of a piece from ``first`` on this process's share of its items, in training mode.

        A step without items changes no weight.
        """

    def loss(self, item: Any) -> torch.Tensor:
        """Scalar loss of an item; gradients of a step add up."""

    def recorded(self, losses: list[float]) -> list[float]:
        """What the history averages, from the losses of all items of a step."""

    def names(self, plan: Plan, step: int) -> list[str]:
        """Images of a step, for messages."""


class Score(NamedTuple):
    """What a validation gives: the value of a metric, and whether higher or lower values are better."""

    value: float
    direction: Literal["higher", "lower"]


@dataclass
class Best:
    """The best epoch so far: by validation score once there is one, by training loss before."""

    epoch: int = 0
    score: float | None = None
    loss: float = math.inf

    def beaten_by(self, loss: float, score: Score | None) -> bool:
        """Whether an epoch is better; the earlier one wins a tie."""
        if score is None:
            return self.score is None and loss < self.loss
        if self.score is None:
            return True
        return score.value < self.score if score.direction == "lower" else score.value > self.score


@dataclass
class State:
    """Where a training stands.

    Attributes:
        epoch: epochs that are complete, validation included.
        piece: pieces that are complete of the following epoch.
        step: optimiser steps done of the following piece, whose ``plan`` is kept while there are any.
        losses: of all steps of the following epoch.
        figures: of the plans of its pieces so far.
        best, weights: the best epoch and its weights.
        history: one row an epoch.
    """

    epoch: int = 0
    piece: int = 0
    step: int = 0
    plan: Plan | None = None
    losses: list[float] = field(default_factory=list)
    figures: list[dict[str, float]] = field(default_factory=list)
    best: Best = field(default_factory=Best)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


Validate = Callable[[nn.Module], Score]


class Trainer:
    """Runs a recipe.

    Args:
        recipe: network, optimiser, schedule and steps.
        epochs: how many in all.
        folder: where ``state.pt`` and the TensorBoard events lie.
        digest: of everything that decides what an epoch gives: a state of another one is not resumed.
        validate: network -> score, whose direction says which epoch is the best.
        every: epochs between two validations.
        patience: end after so many validations in a row that were not the best.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        epochs: int,
        folder: Path,
        digest: str,
        validate: Validate | None = None,
        every: int = 1,
        patience: int | None = None,
    ) -> None:
        self.recipe, self.epochs, self.folder, self.digest = recipe, epochs, folder, digest
        self._validate, self._every, self._patience = validate, every, patience
        self._gradients: SharedGradients | None = None
        self._stop = 0

    def run(self) -> State:
        """Train, from the state on disk if there is one; returns the final state with the best weights.

        Raises:
            DataError: a loss is not finite (the state before that step is on disk), or weights are not.
            SystemExit: SIGTERM or SIGINT came; the state is on disk.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        state = self._resumed()
        # Processes wait for each other here, so that none writes a state before all have read theirs.
        self._gradients = SharedGradients(self.recipe.network, self.recipe.loss)
        with self._events(state) as events, on_stop(self._wish_to_stop):
            while state.epoch < self.epochs and not self._given_up(state.history):
                begun = monotonic()
                self._train_epoch(state)
                self._finish_epoch(state, begun)
                if events is not None:
                    _add_row(events, state)
        return state

    def _events(self, state: State) -> AbstractContextManager[SummaryWriter | None]:
        """TensorBoard's; rows of epochs that a killed run wrote beyond its state are purged."""
        return SummaryWriter(str(self.folder / "events"), purge_step=state.epoch + 1) if is_main() else nullcontext()

    def _train_epoch(self, state: State) -> None:
        """The pieces of an epoch that are left."""
        while state.piece < self.recipe.pieces:
            if state.plan is None:
                if state.piece:
                    # Planning can be long: what was trained must not wait for it.
                    self._save(state)
                # The state on disk is whole, so that a signal may end the job at once.
                with on_stop(leave):
                    state.plan = broadcast(self.recipe.plan(state.epoch + 1, state.piece))
                state.figures.append(state.plan.figures)
            self._train_piece(state)
            state.piece, state.step, state.plan = state.piece + 1, 0, None

    def _train_piece(self, state: State) -> None:
        """The steps of a piece that are left, each decided by the plan."""
        batches = self.recipe.batches(state.plan, state.step)
        if is_main():
            label = f"epoch {state.epoch + 1} of {self.epochs}"
            if self.recipe.pieces > 1:
                label += f", piece {state.piece + 1} of {self.recipe.pieces}"
            batches = progress(batches, state.plan.steps, label, done=state.step, unit="steps")
        for batch in batches:
            self._step(state, batch)
            if in_any(bool(self._stop)):
                self._save(state)
                place = f"epoch {state.epoch + 1}, step {state.step}"
                # Where another process was told, this one does not know by what.
                number = self._stop or signal.SIGTERM
                _log.warning("stopped by %s in %s; run again to go on", signal.Signals(number).name, place)
                raise SystemExit(128 + number)

    def _step(self, state: State, batch: list[Any]) -> None:
        self.recipe.optimiser.zero_grad()
        losses = self._gradients(batch)
        if not all(map(math.isfinite, losses)):
            self._save(state)
            names = listed(self.recipe.names(state.plan, state.step))
            raise DataError(
                f"epoch {state.epoch + 1}, step {state.step + 1}: the loss is {losses}, not finite, on images {names}. "
                f"{self.folder / 'state.pt'} holds the weights before this step: lower the learning rate or leave "
                "these images out, delete it and run again."
            )
        self.recipe.optimiser.step()
        if self.recipe.schedule == "step":
            self.recipe.scheduler.step()
        state.step += 1
        state.losses += self.recipe.recorded(losses)

    def _finish_epoch(self, state: State, begun: float) -> None:
        """Validation, schedule, history and state of an epoch whose steps are done; ``begun`` is for the log."""
        epoch = state.epoch + 1
        self._check_weights(epoch)
        if self._is_validated(epoch):
            # A validation can be long: what was trained must not wait for it.
            self._save(state)
        loss = sum(state.losses) / max(len(state.losses), 1)
        # As while a plan is made: the state on disk is whole.
        with on_stop(leave):
            validates = self._is_validated(epoch) and is_main()
            score = broadcast(self._validate(self.recipe.network) if validates else None)
        rate = max(group["lr"] for group in self.recipe.optimiser.param_groups)
        if self.recipe.schedule == "epoch":
            self.recipe.scheduler.step()
        value = None if score is None else score.value
        best = state.best.beaten_by(loss, score)
        if best:
            state.best = Best(epoch, value, loss)
            weights = self.recipe.network.state_dict()
            state.weights = {key: value.detach().cpu().clone() for key, value in weights.items()}
        figures = {name: fmean(figures[name] for figures in state.figures) for name in state.figures[0]}
        row = {"epoch": epoch, "train_loss": loss, "score": value, "learning_rate": rate, **figures}
        state.history.append({**row, "best": int(best)})
        _log.info("epoch %d of %d: %s, %s", epoch, self.epochs, _told(state.history[-1]), duration(monotonic() - begun))
        state.epoch, state.piece, state.losses, state.figures = epoch, 0, [], []
        self._save(state)

    def _check_weights(self, epoch: int) -> None:
        """A loss may be finite, or nothing, where weights are not."""
        for name, value in self.recipe.network.state_dict().items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise DataError(
                    f"epoch {epoch}: {name} is not finite; lower the learning rate, delete {self.folder / 'state.pt'} "
                    "and run again."
                )

    def _is_validated(self, epoch: int) -> bool:
        return self._validate is not None and epoch % self._every == 0

    def _given_up(self, history: Sequence[dict[str, Any]]) -> bool:
        best = max((row["epoch"] for row in history if row["best"]), default=0)
        since = sum(epoch > best for epoch in _scored(history))
        return self._patience is not None and since >= self._patience

    def _wish_to_stop(self, number: int, _frame: FrameType | None) -> None:
        """Handler of SIGTERM and SIGINT between steps: the step under way is finished first."""
        self._stop = number

    # --- state on disk ---

    def _save(self, state: State) -> None:
        if is_main():
            self._write(state)
        # No process ends, and has torchrun end the others, before the state is on disk.
        barrier()

    def _write(self, state: State) -> None:
        content = {
            "format": _FORMAT,
            "digest": self.digest,
            "state": asdict(state),
            "network": self.recipe.network.state_dict(),
            "optimiser": self.recipe.optimiser.state_dict(),
            "scheduler": self.recipe.scheduler.state_dict(),
            "memory": self.recipe.memory,
            "random": random_state(),
        }
        write_sealed(content, self.folder / "state.pt")

    def _left_behind(self, history: Sequence[dict[str, Any]]) -> str:
        """Why a training with the present epochs, validations and patience would not come by a state; else empty."""
        if len(history) > self.epochs:
            return f"is {len(history)} epochs old, {self.epochs} are wanted"
        if _scored(history) != [row["epoch"] for row in history if self._is_validated(row["epoch"])]:
            return f"was not validated every {self._every} epochs"
        if any(self._given_up(history[:epochs]) for epochs in range(1, len(history))):
            return f"is {len(history)} epochs old, with a patience of {self._patience} training ends before"
        return ""

    def _resumed(self) -> State:
        path = self.folder / "state.pt"
        if not path.is_file():
            return State()
        check_seal(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content.get("format") != _FORMAT or content["digest"] != self.digest:
            _log.warning("%s belongs to another configuration, or to other labels: training starts anew", path)
            return State()
        values = content["state"]
        if reason := self._left_behind(values["history"]):
            _log.warning("%s %s: training starts anew", path, reason)
            return State()
        self.recipe.network.load_state_dict(content["network"])
        self.recipe.optimiser.load_state_dict(content["optimiser"])
        self.recipe.scheduler.load_state_dict(content["scheduler"])
        self.recipe.memory = content["memory"]
        restore_random_state(content["random"])
        plan = None if values["plan"] is None else Plan(**values["plan"])
        state = State(**{**values, "plan": plan, "best": Best(**values["best"])})
        _log.info("resumed after epoch %d, step %d", state.epoch, state.step)
        return state


def _told(row: dict[str, Any]) -> str:
    """A row of the history as a sentence of the log."""
    score = "" if row["score"] is None else f", validation score {row['score']:.4f}"
    best = " (the best so far)" if row["best"] else ""
    others = {name: value for name, value in row.items() if name not in ("epoch", "train_loss", "score", "best")}
    rest = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in others.items())
    return f"training loss {row['train_loss']:.4f}{score}{best}, {rest}"


def _scored(history: Sequence[dict[str, Any]]) -> list[int]:
    """Epochs that were validated."""
    return [row["epoch"] for row in history if row["score"] is not None]


def _add_row(events: SummaryWriter, state: State) -> None:
    """The last row of the history, for TensorBoard."""
    for name, value in state.history[-1].items():
        if name != "epoch" and value is not None:
            events.add_scalar(name, value, state.epoch)


def write_history(history: list[dict[str, Any]], path: Path) -> None:
    """Write the history as CSV, one row an epoch; an epoch without validation has an empty score.

    The learning rate is the largest of all parameters; where it changes from step to step, that after the last step.
    """
    write_csv(path, list(history[0]), (row.values() for row in history))
