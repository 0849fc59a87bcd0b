"""The training loop with a recipe of a few numbers: schedules by step or epoch, and metrics where lower is better."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from building_training import FIRE, FIRE_SETTINGS, MODEL, SETTINGS, make_building_training
from scores_files import write_told
from torch import nn

from descbench.errors import DataError
from descbench.metrics.scores import Metric, Scores, write_scores
from descbench.models.checkpoints import load_network
from descbench.training.fire import FireRecipe
from descbench.training.loop import Plan, Score, State, Trainer
from descbench.training.train import build_recipe
from descbench.training.tuples import TupleRecipe
from descbench.training.validation import ImageList, Validator

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 3


class Numbers:
    """Fits a line to numbers; the learning rate falls by a tenth each time that the schedule steps."""

    def __init__(self, schedule: str, stop_in: int | None = None) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(1, 1)
        self.optimiser = torch.optim.SGD(self.network.parameters(), 0.1, momentum=0.9)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimiser, 0.9)
        self.schedule, self.pieces, self.memory = schedule, 1, {}
        self.rates: list[float] = []
        self._left = stop_in

    def plan(self, epoch: int, piece: int) -> Plan:
        return Plan({"numbers": torch.arange(STEPS) + float(epoch)}, STEPS, {"planned": 1.0})

    def batches(self, plan: Plan, first: int) -> Iterator[list[torch.Tensor]]:
        for number in plan.tensors["numbers"][first:]:
            yield [number.reshape(1, 1)]

    def loss(self, item: torch.Tensor) -> torch.Tensor:
        if self._left == len(self.rates):
            return float("nan") * self.network(item).sum()
        self.rates.append(self.optimiser.param_groups[0]["lr"])
        return (self.network(item) - 2 * item).square().sum() / 100

    def recorded(self, losses: list[float]) -> list[float]:
        return losses

    def names(self, plan: Plan, step: int) -> list[str]:
        return [f"number {step}"]


def train(recipe: Numbers, folder: Path, epochs: int = 3, **more: Any) -> State:
    return Trainer(recipe, epochs=epochs, folder=folder, digest="numbers", **more).run()


def powers(*exponents: int) -> Any:
    return pytest.approx([0.1 * 0.9**exponent for exponent in exponents])


def test_a_schedule_steps_after_each_step_or_epoch(tmp_path):
    by_step, by_epoch = Numbers("step"), Numbers("epoch")
    one, other = train(by_step, tmp_path / "step"), train(by_epoch, tmp_path / "epoch")
    assert by_step.rates == powers(*range(9))
    assert by_epoch.rates == powers(0, 0, 0, 1, 1, 1, 2, 2, 2)
    # The history has the rate of the epoch, or the one after its last step.
    assert [row["learning_rate"] for row in one.history] == powers(3, 6, 9)
    assert [row["learning_rate"] for row in other.history] == powers(0, 1, 2)


@pytest.mark.parametrize("schedule", ["step", "epoch"])
def test_a_schedule_goes_on_where_a_training_ended(tmp_path, schedule):
    through = Numbers(schedule)
    expected = train(through, tmp_path / "through")
    cut = Numbers(schedule, stop_in=4)
    with pytest.raises(DataError, match=r"epoch 2, step 2: the loss is .*nan.* on images number 1"):
        train(cut, tmp_path / "cut")
    resumed = Numbers(schedule)
    found = train(resumed, tmp_path / "cut")
    assert cut.rates + resumed.rates == through.rates
    assert found.history == expected.history
    assert all(torch.equal(value, found.weights[key]) for key, value in expected.weights.items())


@pytest.mark.parametrize(("direction", "best"), [("higher", 3), ("lower", 2)])
def test_the_metric_says_which_epoch_is_the_best(tmp_path, direction, best):
    scores = iter([0.5, 0.2, 0.7, 0.2])
    state = train(Numbers("epoch"), tmp_path, 4, validate=lambda network: Score(next(scores), direction))
    assert (state.best.epoch, state.best.score) == (best, {3: 0.7, 2: 0.2}[best])
    assert [row["score"] for row in state.history] == [0.5, 0.2, 0.7, 0.2]
    assert [row["epoch"] for row in state.history if row["best"]] == [1, best]


@pytest.mark.parametrize(("direction", "epochs"), [("higher", 3), ("lower", 5)])
def test_patience_counts_in_the_direction_of_the_metric(tmp_path, direction, epochs):
    scores = iter([0.5, 0.4, 0.3, 0.3, 0.6, 0.1])
    validate = lambda network: Score(next(scores), direction)  # noqa: E731
    assert len(train(Numbers("epoch"), tmp_path, 6, validate=validate, patience=2).history) == epochs


def test_weights_that_are_not_finite_end_a_training(tmp_path):
    """The loss of the last step is of the weights before it."""
    recipe, asked = Numbers("step"), []
    step = recipe.optimiser.step

    def spoil() -> None:
        step()
        if len(recipe.rates) == STEPS:
            recipe.network.weight.data.fill_(float("inf"))

    recipe.optimiser.step = spoil
    with pytest.raises(DataError, match=r"epoch 1: weight is not finite; lower the learning rate, delete .*state\.pt"):
        train(recipe, tmp_path, epochs=1, validate=lambda network: asked.append(network))
    assert not asked
    assert not (tmp_path / "state.pt").exists()


class Told(Validator):
    """A validator whose search is left out."""

    def rank(self, checkpoint: Path, folder: Path, ranking: Path) -> None:
        pass


@pytest.fixture
def validator(tmp_path, monkeypatch):
    """Makes a validator of a metric, whose scores file a function writes."""
    files = make_building_training(tmp_path / "buildings")
    files.folder.mkdir()

    def make(metric: str, write: Any) -> tuple[Told, nn.Module]:
        monkeypatch.setattr("descbench.training.validation.score_ranking", lambda ranking, labels, path: write(path))
        images = ImageList(files.validation.manifest, files.validation.root)
        told = Told(MODEL, metric, images, files.ground_truth, files.folder, "cpu", 0)
        return told, load_network(files.start, MODEL)

    return make


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_a_validator_gives_the_direction_of_its_metric(validator, direction):
    metric = Metric(0.25, 0.2, 0.3, "bootstrap", direction=direction)
    scores = Scores("retrieval", "classic", 2, {"fpr95": metric}, {"fpr95": [0.25, 0.25]})
    told, network = validator("fpr95", lambda path: write_scores(scores, path))
    assert told(network) == Score(0.25, direction)


def test_a_metric_in_which_no_query_counts_is_refused(validator):
    told, network = validator("map", lambda path: write_told(path, {"map": None}))
    with pytest.raises(DataError, match=r"val\.json: no query counts in map"):
        told(network)


@pytest.mark.parametrize(
    ("model", "settings", "kind"), [(MODEL, SETTINGS, TupleRecipe), (FIRE, FIRE_SETTINGS, FireRecipe)]
)
def test_a_recipe_is_built_without_training(tmp_path, model, settings, kind):
    files = make_building_training(tmp_path, model)
    recipe = build_recipe(files, model, settings, device="cpu")
    assert type(recipe) is kind
    start = load_network(files.start, model).state_dict()
    assert all(torch.equal(value, start[key]) for key, value in recipe.network.state_dict().items())
    assert not files.folder.exists()
    assert recipe.plan(1, 0).steps == settings.queries // settings.batch
