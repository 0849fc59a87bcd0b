"""The Oxford and Paris metric against what the original code gave (docs/protocols/revisitop.md, What was checked)."""

import json

import numpy as np
import pytest
from goldens import golden_cases

from descbench.metrics.revisited import compute_ap, compute_map, setup_scores


def cases(pattern):
    """All cases of all files of a pattern, as test parameters."""
    found = golden_cases("revisitop", pattern, lambda path: json.loads(path.read_text()))
    return [
        pytest.param(case, id=f"{path.stem}-{(case or {}).get('name', number)}")
        for number, (path, case) in enumerate(found)
    ]


def close(found, expected):
    """Equal within 1e-12, where null stands for NaN."""
    np.testing.assert_allclose(np.asarray(found, float), np.array(expected, float), rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", cases("compute_ap*.json"))
def test_compute_ap(case):
    close(compute_ap(case["ranks"], case["nres"]), case["ap"])


@pytest.mark.parametrize("case", cases("compute_map*.json"))
def test_compute_map(case):
    result = compute_map(np.array(case["ranks_db_by_query"]), case["gnd"], case["kappas"])
    if "raises" in case:
        # Where the original stops: NaN if no query has positives, else 0 for those never retrieved.
        listed = [bool(query["ok"]) for query in case["gnd"]]
        assert np.array_equal(np.isnan(result.aps), ~np.array(listed))
        assert np.isnan(result.map) == (not any(listed))
        if any(listed):
            assert 0 in result.aps
            assert (result.precisions[result.aps == 0] == 0).all()
    else:
        close(result.map, case["map"])
        close(result.aps, case["aps"])
        close(result.mean_precisions, case["mp_at_k"])
        close(result.precisions, case["p_at_k"])


@pytest.mark.parametrize("case", cases("protocol*.json"))
def test_protocol(case):
    given = {"kappas": case["kappas"]} if "kappas" in case else {}
    results = setup_scores(np.array(case["ranks_db_by_query"]), case["gnd"], **given)
    fields = {"map": "map", "mp@k": "mean_precisions", "ap": "aps", "p@k": "precisions"}
    scores = {f"{name}{suffix}": getattr(result, fields[name]) for suffix, result in results.items() for name in fields}
    assert set(scores) == set(case["scores"])
    for name, expected in case["scores"].items():
        close(scores[name], expected)
