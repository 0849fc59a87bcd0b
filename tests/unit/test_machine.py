"""What jobs need of a machine is asked before any of them starts, and only where the answer matters."""

import pytest

from descbench import machine
from descbench.config.models import Config
from descbench.errors import ConfigError
from descbench.machine import check_machine

GPU_RULES = ("extract_features", "train_checkpoint")


@pytest.mark.parametrize(
    ("settings", "rules", "gpus", "expected"),
    [
        ({"device": "cuda"}, ["extract_features"], 0, "device: cuda was asked for, but torch sees no CUDA device"),
        ({"device": "cuda"}, ["extract_features"], 1, None),
        ({"device": "cuda"}, ["download_source", "build_table"], None, None),
        ({"device": "auto"}, ["extract_features"], None, None),
        ({"device": "cpu"}, ["train_checkpoint"], None, None),
        (
            {"device": "auto", "training_gpus": 2},
            ["train_checkpoint"],
            1,
            "training_gpus: 2 were asked for, but torch sees 1",
        ),
        ({"device": "auto", "training_gpus": 2}, ["train_checkpoint"], 0, None),
        ({"device": "auto", "training_gpus": 2}, ["extract_features"], None, None),
        ({"device": "cuda", "training_gpus": 2}, ["train_checkpoint"], 2, None),
        ({"device": "cpu", "training_gpus": 2}, ["train_checkpoint"], None, None),
    ],
)
def test_gpus(monkeypatch, settings, rules, gpus, expected):
    """``gpus`` None: torch must not even be asked."""

    def count():
        assert gpus is not None
        return gpus

    monkeypatch.setattr(machine, "count_gpus", count)
    if expected is None:
        check_machine(Config(**settings), rules, gpu_rules=GPU_RULES)
        return
    with pytest.raises(ConfigError, match=expected):
        check_machine(Config(**settings), rules, gpu_rules=GPU_RULES)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_backend_that_is_not_installed(monkeypatch, backend):
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=f"backend: {backend} was asked for, but {backend} is not installed"):
        check_machine(Config(backend=backend), ["extract_features"], gpu_rules=GPU_RULES)
    check_machine(Config(backend=backend), ["build_table"], gpu_rules=GPU_RULES)


def test_no_gpu_is_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.count_gpus() == 0
