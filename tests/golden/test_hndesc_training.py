"""Training of HNDesc against what the original gave: losses, pairs of crops, colours, and a step of Adam."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from goldens import golden_files

from descbench.losses.average_precision import ap_loss, average_precision, bin_lines, in_pair_triplet_loss

ROUNDING = 1e-6
# Criteria by the name that files give them; `_k<hardest>_nq<bins>` may follow.
CRITERIA: dict[str, dict[str, Any]] = {
    "in_batch": {},
    "all_negs": {"negatives": "all"},
    "in_pair": {"negatives": "in_pair"},
    "in_batch_euc": {"euclidean": True},
}


def cases(pattern: str) -> list:
    return [pytest.param(path, id=path.stem) for path in golden_files("hndesc", pattern)]


# --- losses ------------------------------------------------------------------------------------


def near(found: torch.Tensor, expected: np.ndarray, name: str = "") -> None:
    """Equal but for the rounding of numbers as large as the largest."""
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=ROUNDING * size, err_msg=name)


@pytest.mark.parametrize("path", cases("ap_loss*.npz"))
def test_average_precision(path):
    golden = np.load(path)
    bins = len(golden["quant_w"]) // 2
    for lines, name in zip(bin_lines(bins), ("quant_w", "quant_b"), strict=True):
        np.testing.assert_array_equal(lines.flatten(), golden[name])
    values = torch.from_numpy(golden["x"]).requires_grad_()
    ap = average_precision(values, torch.from_numpy(golden["label"]), bins)
    near(ap, golden["ap"])
    (1 - ap).mean().backward()
    # A bin's line has slope 19, so that rounding of the sums counts as many times.
    np.testing.assert_allclose(values.grad, golden["grad"], rtol=0, atol=(bins - 1) * ROUNDING)


def options_of(criterion: str) -> dict[str, Any]:
    name, _, rest = criterion.partition("_k")
    numbers = dict(zip(("hardest", "bins"), map(int, rest.split("_nq")), strict=True)) if rest else {}
    return {**CRITERIA[name], **numbers}


def compare(golden: Any, stem: str, outcome: str, calculate: Any) -> None:
    """Values and gradients with respect to descriptors before they are of unit length."""
    names = [name for name in ("anc", "pos", "hn") if f"{stem}_{name}" in golden]
    rows = [torch.from_numpy(golden[f"{stem}_{name}"]).requires_grad_() for name in names]
    loss, ap = calculate(*(F.normalize(tensor) for tensor in rows), golden[f"{stem}_ids"].tolist())
    near(loss, golden[f"{outcome}_loss"], outcome)
    if ap is not None:
        near(ap, golden[f"{outcome}_ap"], outcome)
    loss.backward()
    for name, tensor in zip(names, rows, strict=True):
        near(tensor.grad, golden[f"{outcome}_g{name}"], f"{outcome} {name}")


@pytest.mark.parametrize("path", cases("criteria*.npz"))
def test_criteria(path):
    golden, seen = np.load(path), set()
    stems = [key.removesuffix("_ids") for key in golden if key.endswith("_ids")]
    for outcome in (key.removesuffix("_loss") for key in golden if key.endswith("_loss")):
        stem = max((stem for stem in stems if outcome.startswith(stem)), key=len)
        criterion = outcome.removeprefix(stem).removeprefix("_")
        if criterion == "":
            compare(golden, stem, outcome, lambda a, p, extra, ids: ap_loss(a, p, ids, extra=extra))
        elif criterion == "triplet":
            compare(golden, stem, outcome, lambda a, p, ids: (in_pair_triplet_loss(a, p, ids), None))
        else:
            options = options_of(criterion)
            compare(golden, stem, outcome, lambda a, p, ids, o=options: ap_loss(a, p, ids, **o))
        seen.add(outcome)
    assert seen
