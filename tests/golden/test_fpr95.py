"""FPR95 against what the original code gave (docs/protocols/hpatches_patches.md, What was checked)."""

import json

import numpy as np
import pytest
from goldens import golden_cases

from descbench.metrics.fpr95 import fpr95

CASES = [
    pytest.param(case, id=f"{path.stem}-{number}")
    for number, (path, case) in enumerate(
        golden_cases("hardnet", "fpr95*.json", lambda path: json.loads(path.read_text()))
    )
]


@pytest.mark.parametrize("case", CASES)
def test_fpr95(case):
    distances, labels = np.array(case["distances"], np.float32), np.array(case["labels"])
    found = fpr95(distances, labels)
    if not case["ties"]:
        assert found == case["fpr95"]
        return
    # The original's sort puts equal distances in no order that could be known: anything between the extremes.
    best, worst = (fpr95(distances[order], labels[order]) for order in (np.argsort(-labels), np.argsort(labels)))
    for value in (found, case["fpr95"]):
        assert best <= value <= worst
