"""Start a training: in this process, or in several that torchrun starts (:mod:`descbench.training.worker`)."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from descbench.config.networks import Model
from descbench.config.training import Training
from descbench.device import pick_device
from descbench.errors import ConfigError, DataError, DescbenchError
from descbench.io.atomic import work_folder
from descbench.signals import on_stop
from descbench.training.train import TrainingFiles, train_checkpoint
from descbench.training.train_patches import PatchTrainingFiles, train_on_patches

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingJob:
    """Everything that the stage train_checkpoint is told, for other processes to read.

    Attributes:
        files: of a training on images (:func:`descbench.training.train.train_checkpoint`) or on patches
            (:func:`descbench.training.train_patches.train_on_patches`).
    """

    files: TrainingFiles | PatchTrainingFiles
    model: Model
    settings: Training
    device: str = "auto"

    def run(self) -> None:
        """Train in this process, alone or as one of several."""
        _STAGES[type(self.files)](self.files, self.model, self.settings, device=self.device)

    def write(self, path: Path) -> None:
        """Write the job as JSON."""
        path.write_bytes(TypeAdapter(TrainingJob).dump_json(self, indent=2))


_STAGES = {TrainingFiles: train_checkpoint, PatchTrainingFiles: train_on_patches}


def read_job(path: Path) -> TrainingJob:
    """Read what :meth:`TrainingJob.write` wrote.

    Raises:
        DataError: the file is absent or no job.
    """
    try:
        return TypeAdapter(TrainingJob).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: no training job: {error}") from error


def train(job: TrainingJob, processes: int = 1) -> None:
    """Train with so many processes on this machine, each on a GPU of its own (on the CPU: side by side).

    SIGTERM and SIGINT go on to the processes, which finish the step under way and leave their state on disk.

    Raises:
        ConfigError: fewer GPUs than processes.
        DescbenchError: what the first process that failed says.
        SystemExit: SIGTERM or SIGINT came.
    """
    if processes == 1:
        job.run()
        return
    _check_gpus(job.device, processes)
    with work_folder(job.files.folder / "launch") as folder:
        path, error = folder / "job.json", folder / "error.json"
        job.write(path)
        code, stopped = _torchrun(path, error, processes)
        if stopped:
            raise SystemExit(128 + stopped)
        if code:
            raise DescbenchError(_first_error(error, code))


def _check_gpus(device: str, processes: int) -> None:
    if pick_device(device).type == "cuda" and torch.cuda.device_count() < processes:
        raise ConfigError(
            f"training_gpus: {processes} were asked for, but torch sees {torch.cuda.device_count()}; lower it."
        )


def _torchrun(job: Path, error: Path, processes: int) -> tuple[int, int]:
    """Exit code of torchrun, whose output goes to our log, and the signal that came, or 0."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    threads = max(1, torch.get_num_threads() // processes)
    # torchrun leaves there what the first process that failed raised.
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, "TORCHELASTIC_ERROR_FILE": str(error)}
    with (
        subprocess.Popen(
            [*command, "-m", "descbench.training.worker", str(job)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as torchrun,
        _passing_on_signals(torchrun) as came,
    ):
        for line in torchrun.stdout:
            _log.info("%s", line.rstrip())
        code = torchrun.wait()
    return code, came[-1] if came else 0


@contextmanager
def _passing_on_signals(process: subprocess.Popen) -> Iterator[list[int]]:
    """Send SIGTERM on to a process, at SIGINT too; yields a list of the signals that came."""
    came: list[int] = []

    def pass_on(number: int, _frame: Any) -> None:
        came.append(number)
        process.send_signal(signal.SIGTERM)

    with on_stop(pass_on):
        yield came


def _first_error(path: Path, code: int) -> str:
    if not path.is_file():
        return f"torchrun ended with code {code} and no message of its own; the lines above may tell why."
    message = json.loads(path.read_text(encoding="utf-8"))["message"]
    # "DataError: what is wrong", beside the call stack.
    return message["message"] if isinstance(message, dict) else message
