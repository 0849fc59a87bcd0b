"""The built package: it works where there is no checkout, and other workflows can use this one as a module."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image

import descbench

# What a wheel is built from; kernels without optimisation, which takes half the time.
BUILT_FROM = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "Snakefile", "src", "workflow", "config")
BUILT_FROM += ("envs", "profiles")
FLAGS = {"DESCBENCH_BUILD_FLAGS": "-O0"}
# Each photograph stands in the manifest twice, since it queries too, below a line of headings.
PHOTOGRAPHS, LINES = 3, 7
CONFIG = {"catalog": [], "device": "cpu", "datasets": {"mine": {"format": "folder", "database": "photographs"}}}
MODULE = """
configfile: "mine.yaml"


module descbench:
    snakefile: "{snakefile}"
    config: config


use rule * from descbench as bench_*


rule count:
    input: "results/manifests/mine.csv"
    output: "count.txt"
    shell: "wc -l < {{input}} > {{output}}"
"""


@pytest.fixture(scope="module")
def wheel(project, tmp_path_factory) -> Path:
    """A wheel, built from copies of the files that git knows or would add."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = ["git", "-C", project, "ls-files", "--cached", "--others", "--exclude-standard", "--", *BUILT_FROM]
    for name in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.splitlines():
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((project / name).read_bytes())
    build = ["pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", folder, folder / "source"]
    subprocess.run([sys.executable, "-m", *build], check=True, env={**os.environ, **FLAGS}, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with the package of the wheel in it, and nothing of a checkout above."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """A folder of a user's."""
    (tmp_path / "photographs").mkdir()
    for number in range(PHOTOGRAPHS):
        drawn = Image.effect_noise((96, 64), 60 + number).convert("RGB")
        drawn.save(tmp_path / f"photographs/{number}.png")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def run(installed: Path, folder: Path, *words: str) -> str:
    """Output of a module of the installed package, or of Snakemake, run in a folder of the user's."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_holds_the_workflow_and_no_sources_of_kernels(wheel, project) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("workflow", "config/catalog", "envs", "profiles"):
        known = {f"descbench/_project/{path.relative_to(project)}" for path in (project / folder).rglob("*.*")}
        assert {name for name in known if "__pycache__" not in name and "." in Path(name).name} <= {*names}, folder
    assert not [name for name in names if re.search(r"\.(?:c|cpp|h|pyx)$", name)]
    assert sum(name.endswith(".so") for name in names) == 3


def test_its_version_is_that_of_the_package(wheel, project) -> None:
    assert wheel.name.split("-")[1] == descbench.__version__
    assert yaml.safe_load((project / "CITATION.cff").read_text())["version"] == descbench.__version__
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["dynamic"] == ["version"]


def test_commands_find_the_catalogue(installed, elsewhere) -> None:
    snakefile = run(installed, elsewhere, "descbench.cli", "snakefile").strip()
    assert Path(snakefile) == installed / "descbench/_project/Snakefile"
    assert "table2" in run(installed, elsewhere, "descbench.cli", "list", "tables")
    images = [f"photographs/{number}.png" for number in (0, 0)]
    run(installed, elsewhere, "descbench.cli", "match", *images, "--method", "sequences_sift", "--html", "m.html")
    assert (elsewhere / "m.html").stat().st_size > 1000


def test_the_workflow_runs_where_the_user_is(installed, elsewhere) -> None:
    snakefile = str(installed / "descbench/_project/Snakefile")
    target = "results/manifests/mine.csv"
    run(installed, elsewhere, *f"snakemake -s {snakefile} --cores 1 --configfile mine.yaml -- {target}".split())
    assert len((elsewhere / target).read_text().splitlines()) == LINES


def test_it_is_a_module_of_another_workflow(installed, elsewhere) -> None:
    text = MODULE.format(snakefile=installed / "descbench/_project/Snakefile")
    (elsewhere / "Snakefile").write_text(text)
    run(installed, elsewhere, "snakemake", "--cores", "1", "count.txt")
    assert int((elsewhere / "count.txt").read_text()) == LINES
