"""Where networks run: no reason to make a file again, and checked before a good file is deleted."""

import pytest

SHARD = "results/features/how/alderford/query/00000.h5"
REFUSED = "device: cuda was asked for, but torch sees no CUDA device, and "


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_another_word_for_the_device_makes_nothing_again(finished, device):
    """The tiny town was made with `device: cpu`."""
    assert finished.planned("results/table2.csv", "results/report.html", overlay={"device": device}) == {}


@pytest.fixture
def good(workplace, monkeypatch):
    """A workplace of a machine without a GPU, where a shard lies that a run would make again."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    shard = workplace.folder / SHARD
    shard.parent.mkdir(parents=True)
    shard.write_text("good")
    return shard


def test_without_a_gpu_nothing_is_deleted(workplace, good):
    result = workplace.run("--cores", "1", "-f", SHARD, overlay={"device": "cuda"}, check=False)
    output = result.stdout + result.stderr
    assert result.returncode == 1
    assert output.count(f"descbench: {REFUSED}") == 1
    assert "Traceback" not in output
    assert good.read_text() == "good"
    # Nothing else was begun either, and the folder is not locked.
    assert not (workplace.folder / "data").exists()
    assert not list((workplace.folder / ".snakemake").glob("locks/*"))


def test_what_needs_no_gpu_runs_without_one(workplace, good):
    workplace.run("--cores", "2", "data/datasets/toytown.json", overlay={"device": "cuda"})
    assert (workplace.folder / "data/datasets/toytown.json").is_file()


def test_job_of_a_cluster_asks_on_its_own_machine(workplace, good):
    """As an executor plugin starts it there: the node checks before it deletes."""
    job = "extract_features:features=how,dataset=alderford,role=query,shard=00000"
    arguments = ("--cores", "1", "--mode", "remote", "--no-hooks", "--force", "--nolock", "--target-jobs", job)
    result = workplace.run(*arguments, overlay={"device": "cuda"}, check=False)
    assert result.returncode == 1
    assert f"descbench: {REFUSED}" in result.stdout + result.stderr
    assert good.read_text() == "good"
