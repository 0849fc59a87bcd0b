"""Containers, conda environments and release: what they name is there, and their packages are those of the project."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import descbench

# conda's name of a package -> that of PyPI, where they differ.
CONDA = {
    "matplotlib-base": "matplotlib",
    "python-xxhash": "xxhash",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "faiss-gpu": "faiss-gpu-cu12",
}


def pins(*files: Path) -> dict[str, str]:
    """Pinned versions of requirements, files that they include too."""
    found: dict[str, str] = {}
    for file in files:
        for line in file.read_text().splitlines():
            if line.startswith("-r "):
                found |= pins(file.parent / line[3:].strip())
            elif match := re.fullmatch(r"([\w.-]+)==([\w.]+)", line):
                found[match[1]] = match[2]
    return found


def needed(project: Path, extra: str) -> set[str]:
    """Names of the packages that the project declares, with an extra."""
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    return {
        re.match(r"[\w-]+", line)[0] for line in [*declared["dependencies"], *declared["optional-dependencies"][extra]]
    }


def in_environment(path: Path) -> dict[str, str]:
    """Packages of a conda environment by their names of PyPI, with the versions asked for."""
    found = {}
    for line in yaml.safe_load(path.read_text())["dependencies"]:
        for entry in line["pip"] if isinstance(line, dict) else [line]:
            name, _, version = entry.partition("=")
            found[CONDA.get(name, name)] = version.lstrip("=")
    return found


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_conda_environments_have_what_the_package_needs(project, kind) -> None:
    found = in_environment(project / f"envs/{kind}.yaml")
    assert needed(project, kind) <= found.keys()
    known = pins(project / f"requirements/{kind}.txt")
    # conda-forge's faiss has versions of its own.
    for name in found.keys() & known.keys() - {"faiss-gpu-cu12"}:
        assert known[name].startswith(found[name]), name


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_requirements_have_what_the_package_needs(project, kind) -> None:
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    workflow = {re.match(r"[\w-]+", line)[0] for extra in ("workflow", "slurm") for line in declared[extra]}
    assert needed(project, kind) | workflow <= pins(project / f"requirements/{kind}.txt").keys()


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def"])
def test_containers_name_what_is_there(project, name) -> None:
    text = (project / name).read_text()
    files = set(re.findall(r"requirements/\w+\.txt", text))
    assert {"requirements/cpu.txt", "requirements/gpu.txt", "requirements/backends.txt"} <= files
    assert all((project / file).is_file() for file in files)
    (version,) = set(re.findall(r"python:(\d+\.\d+)-", text))
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["requires-python"] == f">={version}"
    for commands in re.findall(r"^#\s+(.*snakemake -s \S+.*)$", text, re.M):
        assert "/opt/descbench/Snakefile" in commands
    for source in re.findall(r"^COPY (?!--)(\S+) ", text, re.M):
        assert (project / source).exists()


def test_both_containers_have_the_same_packages(project) -> None:
    texts = [(project / name).read_text() for name in ("Dockerfile", "apptainer.def")]
    default = [re.search(r"REQUIREMENTS=(requirements/\w+\.txt)$", text, re.M)[1] for text in texts]
    flags = [re.search(r"pip install (.* --editable)", text)[1] for text in texts]
    assert default[0] == default[1]
    assert flags[0] == flags[1]


def test_the_catalogue_knows_how_the_software_is_deployed(project) -> None:
    """Keys of today's template of the Snakemake workflow catalog, and the files that it wants."""
    usage = yaml.safe_load((project / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}
    assert set(usage["software-stack-deployment"]) == {"conda", "apptainer", "apptainer+conda"}
    assert any(usage["software-stack-deployment"].values())
    for file in ("workflow/Snakefile", "config/README.md", "config/config.yaml", "LICENSE"):
        assert (project / file).is_file()


def workflow_of(project: Path, name: str) -> dict:
    # YAML 1.1 reads the key `on` as true.
    return yaml.safe_load((project / ".github/workflows" / name).read_text())


def test_ci_runs_what_the_project_calls_ci(project) -> None:
    steps = workflow_of(project, "ci.yml")["jobs"]["check"]["steps"]
    assert {"run": ".ci/run"} in steps
    assert (project / ".ci/run").stat().st_mode & 0o111


@pytest.mark.parametrize(("tag", "code"), [(f"v{descbench.__version__}", 0), ("v0.0.0", 1)])
def test_a_release_is_of_the_tagged_version(project, tag, code) -> None:
    """The step of the release is run as it stands."""
    steps = workflow_of(project, "release.yml")["jobs"]["sdist"]["steps"]
    (command,) = (step["run"] for step in steps if "version" in step.get("name", ""))
    done = subprocess.run(["bash", "-c", command], cwd=project, env={"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"})
    assert done.returncode == code


def test_what_is_published_was_built_before(project) -> None:
    jobs = workflow_of(project, "release.yml")["jobs"]
    assert set(jobs["publish"]["needs"]) == {"sdist", "wheels"}
    assert all(need in jobs for job in jobs.values() for need in job.get("needs", []))
