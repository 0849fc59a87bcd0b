"""NetVLAD's training against what the original gave: loss, mining, schedule, and two epochs of steps."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import plain_netvlad
import pytest
import torch
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

    def loader(self, sets, flips=None, *, workers):
        return [[self.tensors[i] for i in chosen] for chosen in sets]


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """The golden of training steps, and a recipe that stands where it began."""
    (path,) = golden_files("netvlad", "train_steps.json")
    golden, arrays = json.loads(path.read_text()), np.load(path.with_suffix(".npz"))
    total = golden["numDb"] + golden["numQ"]
    pixels = [image(golden["image_seed0"] + i, *golden["image_hw"]) for i in range(total)]
    tensors = [((torch.from_numpy(p) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1) for p in pixels]
    squares = ((arrays["utmQ"][:, None] - arrays["utmDb"]) ** 2).sum(-1)
    labels = PlaceLabels(
        25.0,
        tuple(tuple(np.flatnonzero(row <= 625).tolist()) for row in squares),
        tuple(map(tuple, golden["nontrivial_positives"])),
    )
    settings = NetVladTraining(
        recipe="netvlad",
        dataset="drawn",
        learning_rate=golden["lr"],
        margin=golden["margin"],
        batch=golden["batchSize"],
        refresh=golden["cacheRefreshRate"],
        momentum=golden["momentum"],
        weight_decay=golden["weightDecay"],
        workers=0,
    )
    images = Drawn(tuple(f"{i}.jpg" for i in range(total)), [t[None] for t in tensors])
    network = _variant_s(golden)
    recipe = NetVladRecipe(network, images, labels, settings, torch.device("cpu"), tmp_path_factory.mktemp("training"))
    return golden, arrays, recipe


def _variant_s(golden: dict) -> NetVladNet:
    network = NetVladNet(golden["arch"], clusters=golden["K"])
    fill_(network.state_dict())
    with torch.no_grad():
        for name, parameter in network.encoder.named_parameters():
            parameter *= 2**0.5 if name.endswith("weight") else 0.1
    random = np.random.RandomState(golden["cluster_seed"])
    descriptors = np.abs(random.standard_normal((2000, 256))).astype(np.float32) - np.float32(0.5)
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
    np.testing.assert_allclose(found[:4], arrays["cache0_first"], atol=1e-5)
    database, queries = np.split(found, [golden["numDb"]])
    distances = np.linalg.norm(queries[:, None] - database, axis=-1)
    np.testing.assert_allclose(distances, arrays["cache0_dist_q_db"], atol=1e-4)


def test_train_steps(steps, monkeypatch):
    """With the layer as the original computes it: each step multiplies a difference in rounding by about seven."""
    golden, _, recipe = steps
    monkeypatch.setattr(NetVladPooling, "forward", plain_netvlad.pool)
    batches = iter(golden["batches"])
    for epoch, losses in enumerate(golden["losses"]):
        assert [_step(recipe, next(batches)) for _ in losses] == pytest.approx(losses, abs=1e-4)
        found = {name: value.detach() for name, value in recipe.network.named_parameters() if value.requires_grad}
        assert set(found) == set(golden["params_after_epoch"][epoch])
        for name, figures in golden["params_after_epoch"][epoch].items():
            values = found[name].double()
            assert values.norm().item() == pytest.approx(figures["l2"], rel=1e-4)
            assert values.sum().item() == pytest.approx(figures["sum"], abs=1e-4 * figures["l2"])
            np.testing.assert_allclose(values.flatten()[:6], figures["head"], rtol=1e-4, atol=1e-6)


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
    padded = [row + [-1] * (12 - len(row)) for row in rows]
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
def test_learning_rates(path, steps):
    recipe = steps[2]
    for golden in json.loads(path.read_text()).values():
        (rates,) = (value for key, value in golden.items() if key.startswith("epoch_"))
        settings = {"learning_rate": golden["lr"], "step": int(golden["lrStep"]), "gamma": golden["lrGamma"]}
        block = recipe.settings.model_copy(update=settings)
        fresh = NetVladRecipe(recipe.network, recipe._images, recipe._labels, block, recipe.device, recipe._folder)
        found = []
        for _ in rates:
            found.append(fresh.optimiser.param_groups[0]["lr"])
            fresh.optimiser.step()
            fresh.scheduler.step()
        assert found == pytest.approx(rates, rel=1e-12)
