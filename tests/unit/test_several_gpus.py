"""Training in several processes: the same as in one, by gloo on the CPU (NCCL on GPUs has the same code)."""

import csv
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from building_training import FIRE, FIRE_SETTINGS, MODEL, SETTINGS, make_building_training
from street_training import MODEL as NETVLAD
from street_training import SETTINGS as NETVLAD_SETTINGS
from street_training import make_street_training

from descbench.errors import ConfigError, DataError, DescbenchError
from descbench.training.launch import TrainingJob, read_job, train

pytestmark = pytest.mark.usefixtures("one_thread")
HERE = Path(__file__).parent
# Of the three tuples of a step one process has two: sums are in another order than in one process.
UNEVEN = {"batch": 3, "epochs": 1}
METHODS = {"how": (MODEL, SETTINGS), "fire": (FIRE, FIRE_SETTINGS), "netvlad": (NETVLAD, NETVLAD_SETTINGS)}


def job_of(folder, method="how", **changes):
    model, settings = METHODS[method]
    files = make_street_training(folder) if method == "netvlad" else make_building_training(folder, model)
    return TrainingJob(files, model, settings.model_copy(update={**UNEVEN, **changes}), device="cpu")


def trained(job):
    return torch.load(job.files.checkpoint, weights_only=True)["state_dict"]


def history(job):
    with open(job.files.history, newline="") as stream:
        return [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(stream)]


def begun(folder, method):
    """A training after its first epoch, twice, to go on with the second; where it learns from lies in ``images``."""
    job, both = job_of(folder / "images", method), []
    job.run()
    for name in ("alone", "together"):
        work = folder / name
        work.mkdir()
        (work / "state.pt").write_bytes((job.files.folder / "state.pt").read_bytes())
        places = {"folder": work, "checkpoint": work / "trained.pt", "history": work / "history.csv"}
        settings = job.settings.model_copy(update={"epochs": 2})
        both.append(replace(job, files=replace(job.files, **places), settings=settings))
    return both


def check_alike(alone, together):
    """The same training to rounding, and nothing but its files."""
    one, two = trained(alone), trained(together)
    for key, value in one.items():
        # This bias shifts all scores of a softmax alike: its gradient is rounding, which Adam makes whole steps of.
        if key != "lit.norm_templates.bias":
            torch.testing.assert_close(
                two[key], value, rtol=1e-5, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
            )
    for row, other in zip(history(alone), history(together), strict=True):
        assert row == pytest.approx(other, rel=1e-5, nan_ok=True)
    left = {path.name for path in together.files.folder.iterdir()}
    assert left - {"run"} == {"events", "history.csv", "history.csv.sha256", "state.pt", "trained.pt"}


def test_from_inside(tmp_path):
    """Gradients, NaN in one process, SIGTERM to one process, resume: see the script.

    It runs the second epoch of FIRe and NetVLAD too, since a launch for each takes long.
    """
    paths = [tmp_path / f"{method}.json" for method in METHODS]
    for method, path in zip(METHODS, paths, strict=True):
        job_of(path.with_suffix(""), method).write(path)
    going = [begun(tmp_path / f"begun_{method}", method) for method in ("fire", "netvlad")]
    second = [together.files.folder / "job.json" for _, together in going]
    for (alone, together), path in zip(going, second, strict=True):
        alone.run()
        together.write(path)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result = subprocess.run(
        [*command, str(HERE / "two_processes.py"), *map(str, paths), "--", *map(str, second)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    for path in second:
        path.unlink()
    assert result.returncode == 0, result.stderr
    for alone, together in going:
        check_alike(alone, together)


def test_two_processes_go_on_as_one_does(tmp_path):
    """The first epoch in one process; the second in one and in two."""
    alone, together = begun(tmp_path, "how")
    train(alone, 1)
    train(together, 2)
    check_alike(alone, together)


def test_an_error_of_one_process_ends_all_and_is_told(tmp_path):
    job = job_of(tmp_path / "building_training")
    (job.files.images.root / "2_1.png").write_bytes(b"nothing")
    with pytest.raises(DescbenchError, match=r"DataError: .*2_1\.png"):
        train(job, 2)
    assert not job.files.checkpoint.exists()


def test_sigterm_to_the_launcher_leaves_a_state(tmp_path):
    job = job_of(tmp_path / "building_training", epochs=1000)
    job.write(tmp_path / "job.json")
    command = [sys.executable, str(HERE / "stopped_launch.py"), str(tmp_path / "job.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as launcher:
        lines = []
        for line in launcher.stdout:
            lines.append(line)
            if "epoch 1 of 1000: training loss" in line:
                launcher.send_signal(signal.SIGTERM)
        code = launcher.wait()
    assert code == 128 + signal.SIGTERM, "".join(lines)
    assert torch.load(job.files.folder / "state.pt", weights_only=True)["state"]["epoch"] >= 1
    assert not job.files.checkpoint.exists()
    assert not list(job.files.folder.glob("*.work.*"))


def test_more_processes_than_gpus(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    job = replace(job_of(tmp_path / "building_training"), device="cuda")
    with pytest.raises(ConfigError, match="training_gpus: 2 were asked for, but torch sees 1"):
        train(job, 2)


def test_a_job_survives_its_file(tmp_path):
    job = job_of(tmp_path / "building_training", "fire")
    job.write(tmp_path / "job.json")
    assert read_job(tmp_path / "job.json") == job
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(DataError, match="no training job"):
        read_job(tmp_path / "job.json")
    with pytest.raises(DataError, match="no training job"):
        read_job(tmp_path / "absent.json")
