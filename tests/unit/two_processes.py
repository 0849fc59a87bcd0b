"""What two processes do together, looked at from inside; torchrun starts it twice.

Arguments: jobs (JSON) of a training of HOW, whose folder is used, and of trainings of other methods; after ``--`` those
of trainings that only run.
"""

import math
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from descbench.errors import DataError
from descbench.training.distributed import (
    SharedGradients,
    all_gather,
    broadcast,
    in_any,
    is_main,
    local_slice,
    process_group,
)
from descbench.training.launch import read_job
from descbench.training.train import build_recipe
from descbench.training.tuples import TupleRecipe


def first_step(job):
    """Plan, recorded losses and gradients of the first step, by as many processes as there are."""
    recipe = build_recipe(job.files, job.model, job.settings, device=job.device)
    plan = recipe.plan(1, 0)
    losses = SharedGradients(recipe.network, recipe.loss)(next(recipe.batches(plan, 0)))
    trained = {key: value for key, value in recipe.network.named_parameters() if value.requires_grad}
    return plan, recipe.recorded(losses), {key: value.grad for key, value in trained.items()}


def check_first_step(alone, together):
    for name, tensor in alone[0].tensors.items():
        assert torch.equal(tensor, together[0].tensors[name])
    assert alone[1] == pytest.approx(together[1], rel=1e-6)
    largest = max(gradient.norm() for gradient in alone[2].values())
    for key, gradient in alone[2].items():
        difference = (gradient - together[2][key]).norm()
        # The second term is for gradients that would be zero but for rounding.
        assert difference <= 1e-6 * gradient.norm() + 1e-7 * largest, (key, difference, gradient.norm())


def check_exchange():
    rank = 1 - is_main()
    assert all_gather([f"{rank}{position}" for position in range(2 - rank)]) == ["00", "10", "01"]
    assert broadcast(rank) == 0
    assert in_any(rank == 1)
    assert not in_any(False)


def check_steps_with_few_items():
    network = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(network.bias)
    torch.nn.init.ones_(network.weight)
    gradients = SharedGradients(network, lambda item: network(item).sum())
    items = [torch.tensor([1.0, 2.0])]
    assert gradients(items[local_slice()]) == [3.0]
    assert network.weight.grad.tolist() == [[1.0, 2.0]], "the sum, although one process had nothing to do"
    network.zero_grad()
    assert gradients([]) == []
    assert network.weight.grad is None, "a step without items leaves no gradients"


def check_not_finite(job, patch):
    """A loss of one process that is not finite ends both, before the step."""
    plain = TupleRecipe.loss
    factor = 1.0 if is_main() else math.nan
    patch.setattr(TupleRecipe, "loss", lambda self, item: factor * plain(self, item))
    with pytest.raises(DataError, match=r"epoch 1, step 1: the loss is .*nan.*images/\d_\d\.png"):
        job.run()
    kept = torch.load(job.files.folder / "state.pt", weights_only=True)["network"]
    start = torch.load(job.files.start, weights_only=True)["state_dict"]
    assert all(torch.equal(value, kept[key]) for key, value in start.items())


def check_stop_and_resume(job, through, patch):
    """SIGTERM to one process ends both after the step under way; both go on to the bits of a whole training."""
    through.run()
    plain = TupleRecipe.loss

    def fatal(self, item):
        os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, item)

    if not is_main():
        patch.setattr(TupleRecipe, "loss", fatal)
    with pytest.raises(SystemExit) as stopped:
        job.run()
    assert stopped.value.code == 128 + signal.SIGTERM
    assert torch.load(job.files.folder / "state.pt", weights_only=True)["state"]["step"] == 1
    patch.undo()
    job.run()
    if is_main():
        one, other = (torch.load(j.files.checkpoint, weights_only=True)["state_dict"] for j in (job, through))
        assert all(torch.equal(value, other[key]) for key, value in one.items())
        assert job.files.history.read_text() == through.files.history.read_text()
        assert len(list(job.files.folder.glob("events/events*"))) == 2, "one of each run: of the first process alone"


def elsewhere(job, name):
    """The same training with other results."""
    folder = job.files.folder.with_name(name)
    places = {"folder": folder, "checkpoint": folder / "trained.pt", "history": folder / "history.csv"}
    return replace(job, files=replace(job.files, **places))


def main(arguments):
    torch.set_num_threads(1)
    looked_at, run = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    jobs = [read_job(Path(path)) for path in looked_at]
    alone = [first_step(elsewhere(job, f"alone{os.environ['RANK']}")) for job in jobs]
    with process_group("cpu"):
        for job, expected in zip(jobs, alone, strict=True):
            check_first_step(expected, first_step(job))
        check_exchange()
        check_steps_with_few_items()
        with pytest.MonkeyPatch.context() as patch:
            check_not_finite(elsewhere(jobs[0], "nan"), patch)
        with pytest.MonkeyPatch.context() as patch:
            check_stop_and_resume(jobs[0], elsewhere(jobs[0], "through"), patch)
        for path in run:
            read_job(Path(path)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
