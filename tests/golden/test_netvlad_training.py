"""NetVLAD's training against what the original gave: loss, mining, schedule, and two epochs of steps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rounding
import torch
from benchmarks.plain import netvlad as plain_netvlad
from goldens import golden_files
from standin import fill_, image

from descbench.config.training import NetVladTraining
from descbench.datasets.places import PlaceLabels
from descbench.losses.triplet import triplet_loss
from descbench.models.netvlad import NetVladNet, NetVladPooling
from descbench.models.netvlad_init import initialise_pooling
from descbench.training.hard_negatives import mine_place
from descbench.training.loop import Plan
from descbench.training.netvlad import NetVladRecipe

RADIUS = 25.0  # metres, by which the positions of files were scored that do not say their own
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def cases(pattern: str) -> list:
    return [pytest.param(path, id=path.stem) for path in golden_files("netvlad", pattern)]


@pytest.mark.parametrize("path", cases("triplet_loss*.npz"))
def test_triplet_loss(path):
    golden = np.load(path)
    descriptors = torch.from_numpy(golden["feats"]).requires_grad_()
    counts, margin = golden["neg_counts"].tolist(), float(golden["margin"])
    loss = triplet_loss(descriptors, counts, margin)
    loss.backward()
    assert loss.item() == pytest.approx(float(golden["loss"]), abs=1e-6)
    assert loss.item() == pytest.approx(float(golden["per_triplet"].mean()), abs=1e-6)
    np.testing.assert_allclose(descriptors.grad, golden["grad"], atol=1e-6)


@pytest.mark.parametrize("path", cases("hard_negatives*.npz"))
def test_hard_negatives(path):
    golden = np.load(path)
    database, queries = np.split(golden["feats"], [len(golden["utmDb"])])
    squares = ((golden["utmQ"][:, None] - golden["utmDb"]) ** 2).sum(-1)
    memory: dict[int, np.ndarray] = {}
    for row, drawn in zip(golden["result"], golden["draws"], strict=True):
        query, expected = int(row[1]), row[3:][row[3:] >= 0]
        mined = mine_place(
            queries[query],
            database,
            np.flatnonzero(squares[query] <= golden["nonTrivPosDistSqThr"]),
            np.concatenate([drawn.astype(np.int64), memory.get(query, np.empty(0, np.int64))]),
            margin=float(golden["margin"]),
            wanted=int(golden["nNeg"]),
        )
        assert mined.negatives.tolist() == expected.tolist()
        if len(expected):
            assert mined.positive == row[2]
            memory[query] = mined.negatives
        else:
            assert row[2] == -1


@dataclass(frozen=True)
class Drawn:
    """The golden's images, drawn instead of loaded."""

    paths: tuple[str, ...]
    tensors: list[torch.Tensor]

    def loader(self, sets, flips=None, *, workers, label=None):
        return [[self.tensors[i] for i in chosen] for chosen in sets]


# Settings that a file has if they act, by their names in the original's options.
SETTINGS = {"momentum": "momentum", "weight_decay": "weightDecay", "step": "lrStep", "gamma": "lrGamma"}


@pytest.fixture(scope="module", params=cases("train_steps*.json"))
def steps(request, tmp_path_factory):
    """The golden of training steps, and a recipe that stands where it began."""
    path = request.param
    golden, arrays = json.loads(path.read_text()), np.load(path.with_suffix(".npz"))
    total = golden["numDb"] + golden["numQ"]
    pixels = [image(golden["image_seed0"] + i, *golden["image_hw"]) for i in range(total)]
    tensors = [((torch.from_numpy(p) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1) for p in pixels]
    squares = ((arrays["utmQ"][:, None] - arrays["utmDb"]) ** 2).sum(-1)
    radius = golden.get("posDistThr", RADIUS)
    labels = PlaceLabels(
        radius,
        tuple(tuple(np.flatnonzero(row <= radius**2).tolist()) for row in squares),
        tuple(map(tuple, golden["nontrivial_positives"])),
    )
    settings = NetVladTraining(
        recipe="netvlad",
        dataset="drawn",
        learning_rate=golden["lr"],
        margin=golden["margin"],
        batch=golden["batchSize"],
        refresh=golden["cacheRefreshRate"],
        optimiser=golden.get("optim", "SGD").lower(),
        # As many negatives as the file says, or as a query of it has.
        negatives=golden.get("nNeg", max(count for batch in golden["batches"] for count in batch["neg_counts"])),
        workers=0,
        **{key: golden[name] for key, name in SETTINGS.items() if name in golden},
    )
    images = Drawn(tuple(f"{i}.jpg" for i in range(total)), [t[None] for t in tensors])
    network = _variant_s(golden)
    recipe = NetVladRecipe(network, images, labels, settings, torch.device("cpu"), tmp_path_factory.mktemp("training"))
    return golden, arrays, recipe


def _variant_s(golden: dict) -> NetVladNet:
    network = NetVladNet(golden["arch"], clusters=golden["K"], bias=bool(golden.get("vladv2", False)))
    fill_(network.state_dict())
    with torch.no_grad():
        for name, parameter in network.encoder.named_parameters():
            parameter *= 2**0.5 if name.endswith("weight") else 0.1
    random = np.random.RandomState(golden["cluster_seed"])
    descriptors = np.abs(random.standard_normal((2000, network.pool.centroids.shape[1]))).astype(
        np.float32
    ) - np.float32(0.5)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    alpha = initialise_pooling(network.pool, descriptors[: golden["K"]] * np.float32(0.8), descriptors)
    assert alpha == pytest.approx(golden["alpha"], rel=1e-5)
    return network.eval()


def test_pieces_of_an_epoch(steps):
    golden, _, recipe = steps
    assert [query for piece in recipe._queries for query in piece.tolist()] == golden["queries"]
    assert recipe.pieces == -(-len(golden["queries"]) // golden["cacheRefreshRate"])


def test_descriptors_before_training(steps, tmp_path):
    golden, arrays, recipe = steps
    found = recipe._describe_all(tmp_path / "descriptors.npy")
    np.testing.assert_allclose(found[: len(arrays["cache0_first"])], arrays["cache0_first"], atol=1e-5)
    database, queries = np.split(found, [golden["numDb"]])
    distances = np.linalg.norm(queries[:, None] - database, axis=-1)
    np.testing.assert_allclose(distances, arrays["cache0_dist_q_db"], atol=1e-4)


def test_train_steps(steps, tmp_path):
    """Each step multiplies a difference in rounding by about seven, or Adam makes it a whole step.

    How far that leads is measured: the same steps in float64 from weights that are off by rounding, thrice.
    """
    golden, _, recipe = steps
    ours, *others = (_train(golden, recipe, tmp_path, seed) for seed in (None, 0, 1, 2))
    for epoch, recorded in enumerate(golden["losses"]):
        found = ours[epoch]
        apart = np.max([np.abs(np.array(found["losses"]) - other[epoch]["losses"]) for other in others], axis=0)
        # A later step is as far off as the ones before it, at least.
        assert (np.abs(np.array(found["losses"]) - recorded) <= 1e-4 + 4 * np.maximum.accumulate(apart)).all()
        assert set(found["weights"]) == set(golden["params_after_epoch"][epoch])
        for name, figures in golden["params_after_epoch"][epoch].items():
            values = found["weights"][name]
            moved = 4 * max((values - other[epoch]["weights"][name]).norm().item() for other in others)
            assert values.norm().item() == pytest.approx(figures["l2"], abs=1e-4 * figures["l2"] + moved)
            assert values.sum().item() == pytest.approx(figures["sum"], abs=1e-4 * figures["l2"] + 4 * moved)
            head = np.array(figures["head"])
            np.testing.assert_allclose(values.flatten()[: len(head)], head, rtol=1e-4, atol=1e-6 + moved)


def _train(golden: dict, recipe: NetVladRecipe, folder: Path, seed: int | None) -> list[dict]:
    """Losses of each epoch and the weights after it, in float64; with a seed, from weights off by rounding."""
    images = Drawn(recipe._images.paths, [tensor.double() for tensor in recipe._images.tensors])
    network = _variant_s(golden)
    if seed is not None:
        rounding.disturb(network, seed)
    twin = NetVladRecipe(network.double(), images, recipe._labels, recipe.settings, recipe.device, folder)
    batches, epochs = iter(golden["batches"]), []
    for recorded in golden["losses"]:
        losses = [_step(twin, next(batches)) for _ in recorded]
        twin.scheduler.step()
        trained = ((name, value) for name, value in twin.network.named_parameters() if value.requires_grad)
        epochs.append({"losses": losses, "weights": {name: value.detach().clone() for name, value in trained}})
    return epochs


def test_our_layer_takes_the_same_steps(steps, monkeypatch, tmp_path):
    """In float64, where rounding has no time to grow, our layer and the one above train alike."""
    golden, _, recipe = steps
    found = []
    for forward in (NetVladPooling.forward, plain_netvlad.pool):
        monkeypatch.setattr(NetVladPooling, "forward", forward)
        images = Drawn(recipe._images.paths, [tensor.double() for tensor in recipe._images.tensors])
        network = _variant_s(golden).double()
        twin = NetVladRecipe(network, images, recipe._labels, recipe.settings, recipe.device, tmp_path)
        found.append([_step(twin, batch) for batch in golden["batches"]])
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def _step(recipe: NetVladRecipe, recorded: dict) -> float:
    """One step of the loop on a recorded batch."""
    rows, start = [], 0
    for count in recorded["neg_counts"]:
        rows.append(recorded["indices"][start : start + 2 + count])
        start += 2 + count
    width = 2 + recipe.settings.negatives
    padded = [row + [-1] * (width - len(row)) for row in rows]
    plan = Plan({"tuples": torch.tensor(padded)}, 1, {})
    ((item,),) = recipe.batches(plan, 0)
    recipe.optimiser.zero_grad()
    loss = recipe.loss(item)
    loss.backward()
    recipe.optimiser.step()
    return loss.item()


def test_a_plan_mines_what_the_original_would(steps):
    """Every tuple of a plan keeps to the rule, whichever negatives were drawn."""
    golden, _, recipe = steps
    plan = recipe.plan(1, 0)
    tuples = plan.tensors["tuples"].tolist()
    assert sorted(row[0] for row in tuples) == recipe._queries[0].tolist()
    for row in tuples:
        assert row[1] in golden["nontrivial_positives"][row[0]]
        assert not set(row[2:]) & set(recipe._labels.positives[row[0]])
    assert (recipe.memory["negatives"][tuples[0][0]].numpy() == tuples[0][2:]).all()


@pytest.mark.parametrize("path", cases("lr_schedule*.json"))
def test_learning_rates(path, tmp_path):
    """Of any network and images: the schedule knows of neither."""
    network = NetVladNet("alexnet", clusters=2)
    two = Drawn(("database.jpg", "query.jpg"), []), PlaceLabels(RADIUS, ((0,),), ((0,),))
    for golden in json.loads(path.read_text()).values():
        (rates,) = (value for key, value in golden.items() if key.startswith("epoch_"))
        settings = {"learning_rate": golden["lr"], "step": int(golden["lrStep"]), "gamma": golden["lrGamma"]}
        optimiser = golden.get("optim", "SGD").lower()
        block = NetVladTraining(recipe="netvlad", dataset="drawn", optimiser=optimiser, workers=0, **settings)
        fresh = NetVladRecipe(network, *two, block, torch.device("cpu"), tmp_path)
        found = []
        for _ in rates:
            found.append(fresh.optimiser.param_groups[0]["lr"])
            fresh.optimiser.step()
            fresh.scheduler.step()
        assert found == pytest.approx(rates, rel=1e-12)
