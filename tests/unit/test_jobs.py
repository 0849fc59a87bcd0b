"""The wrapper of every workflow script: one message, a log, an exit code, nothing half-written."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from descbench.jobs import read_work

SCRIPT = """
import logging, sys, time
from pathlib import Path
from types import SimpleNamespace
from descbench.errors import DataError
from descbench.io.atomic import atomic_path
from descbench.jobs import job

wildcards = {{"method": "how", "shard": "00001"}}
snakemake = SimpleNamespace(rule="train_codebook", threads=3, wildcards=wildcards, log={log})
with job(snakemake{options}):
    logging.info("at work")
    with atomic_path("out.txt") as temporary:
        temporary.write_text("half")
        {body}
"""


def start(folder, body, log="['logs/deep/rule.log']", options=""):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body, log=log, options=options)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder, body, **more):
    process = start(folder, body, **more)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def outputs(folder):
    return sorted(p.name for p in folder.iterdir() if p.is_file())


def test_success(tmp_path):
    code, err = run(tmp_path, "pass")
    assert code == 0
    log = (tmp_path / "logs/deep/rule.log").read_text()
    for text in (err, log):
        assert "train_codebook method=how shard=00001 (threads: 3)" in text
        assert "INFO at work" in text
    assert (tmp_path / "out.txt").read_text() == "half"


def test_a_log_ends_with_what_the_job_took(tmp_path):
    """Of its own work and that of its children; a job that fails says nothing of it."""
    log = tmp_path / "logs/deep/rule.log"
    child = "import time\nwhile time.process_time() < 0.3: pass"
    busy = f"import subprocess; subprocess.run([sys.executable, '-c', {child!r}])"
    code, err = run(tmp_path, busy)
    took = read_work(log)
    assert code == 0
    assert err.rstrip().endswith("s of processor time")
    assert min(took) > 0.25  # clocks differ by some ticks
    assert run(tmp_path, "raise DataError('x')")[0] == 1
    assert read_work(log) is None
    assert read_work(tmp_path / "absent.log") is None


def test_without_log_file(tmp_path):
    code, err = run(tmp_path, "pass", log="[]")
    assert code == 0
    assert "at work" in err


def test_refused_on_purpose(tmp_path):
    """One clear message for the user; the traceback is for the log file."""
    code, err = run(tmp_path, "raise DataError('a.jpg: empty; fetch it again.')")
    assert code == 1
    assert "ERROR a.jpg: empty; fetch it again." in err
    assert "Traceback" not in err
    log = (tmp_path / "logs/deep/rule.log").read_text()
    assert "ERROR a.jpg: empty; fetch it again." in log
    assert "Traceback" in log
    assert outputs(tmp_path) == []


def test_refused_by_the_system(tmp_path):
    """As clear a message; an error of no file is a fault of the code."""
    code, err = run(tmp_path, "open('/' + 300 * 'n')")
    assert code == 1
    assert f"ERROR /{300 * 'n'}: the system refuses it (File name too long); correct the path" in err
    assert "Traceback" not in err
    assert "Traceback" in (tmp_path / "logs/deep/rule.log").read_text()
    assert "Traceback" in run(tmp_path, "raise OSError('oh')")[1]


def test_unexpected(tmp_path):
    code, err = run(tmp_path, "raise ZeroDivisionError('oh')")
    assert code == 1
    for text in (err, (tmp_path / "logs/deep/rule.log").read_text()):
        assert "train_codebook failed" in text
        assert "ZeroDivisionError: oh" in text
    assert outputs(tmp_path) == []


def test_a_job_that_goes_on_appends_to_its_log(tmp_path):
    for options in ("", ", goes_on=True", ""):
        run(tmp_path, f"logging.info('attempt{options}')", options=options)
        log = (tmp_path / "logs/deep/rule.log").read_text()
        assert log.count("INFO attempt") == (2 if options else 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_terminated(tmp_path, number):
    """A cluster's SIGTERM and Ctrl-C end the job in order, with one line: its half-written file is taken away."""
    process = start(tmp_path, "print('ready', flush=True) or time.sleep(60)")
    assert process.stdout.readline() == "ready\n"
    assert any(name.startswith("out.txt.tmp-") for name in outputs(tmp_path))
    began = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}; run again to go on" in err
    assert "Traceback" not in err
    assert time.monotonic() - began < 20
    assert outputs(tmp_path) == []


def test_a_stage_has_one_name(project):
    """Rule, script and function of the package are called the same."""
    scripts = sorted(path.stem for path in (project / "workflow/scripts").glob("*.py"))
    rules = "".join(path.read_text(encoding="utf-8") for path in (project / "workflow/rules").glob("*.smk"))
    package = "".join(path.read_text(encoding="utf-8") for path in (project / "src").rglob("*.py"))
    assert len(scripts) > 20
    for name in scripts:
        assert re.search(rf"^rule {name}:", rules, re.MULTILINE), name
        assert re.search(rf"^def {name}\(", package, re.MULTILINE), name


@pytest.fixture
def quiet_job(monkeypatch):
    """The job wrapper in this process, without touching the logging of the test run."""
    from descbench import jobs

    monkeypatch.setattr(jobs.logging, "basicConfig", lambda **_: None)
    return jobs.job


def test_signal_handler_is_put_back(quiet_job):
    before = signal.getsignal(signal.SIGTERM)
    with quiet_job(SimpleNamespace(rule="r", threads=1, wildcards={}, log=[])):
        assert signal.getsignal(signal.SIGTERM) is not before
        with pytest.raises(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_seed(quiet_job):
    def draw():
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002 - the global state is meant

    drawn = []
    for seed in (3, 3, 4):
        with quiet_job(SimpleNamespace(rule="r", threads=1, wildcards={}, log=[]), seed=seed):
            drawn.append(draw())
    assert drawn[0] == drawn[1]
    assert all(a != b for a, b in zip(drawn[0], drawn[2], strict=True))


def test_light_to_import():
    """Every job imports it, also those that need no network."""
    code = "import sys, descbench.jobs; print([m for m in ('snakemake', 'torch', 'h5py') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# Stages that run a network.
NETWORKS = {"cluster_descriptors", "convert_checkpoint", "count_matches", "describe_patches", "extract_features"}
NETWORKS |= {"initialise_checkpoint", "pca_checkpoint", "train_checkpoint", "train_on_crops", "train_on_patches"}
NETWORKS |= {"whiten_checkpoint"}


def test_only_stages_with_a_network_wait_for_torch(project):
    """Importing it takes seconds, in each of the thousands of jobs of a table."""
    scripts = {path.stem: path.read_text() for path in (project / "workflow/scripts").glob("*.py")}
    assert scripts.keys() > NETWORKS
    texts = "\n".join(text for name, text in scripts.items() if name not in NETWORKS)
    imports = "\n".join(re.findall(r"^from \S+ import (?:\([^)]*\)|.*)$", texts, re.M))
    code = f"{imports}\nimport sys; print([m for m in ('torch', 'matplotlib', 'snakemake') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
