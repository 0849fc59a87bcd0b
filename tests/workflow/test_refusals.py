"""What is wrong is said in one sentence before any job starts, whatever command line it is found by."""

import re

import pytest
import yaml

TABLE = "results/table2.csv"


def refused(workplace, *arguments, **options) -> str:
    """The one line of a refusal; no traceback, no place in a Snakefile, nothing written."""
    result = workplace.run(*arguments, check=False, **options)
    output = result.stdout + result.stderr
    assert result.returncode == 1, output
    for noise in ("Traceback", 'File "', "Exception in rule", "Error in file", "common.smk", "Wildcards:"):
        assert noise not in output
    assert not (workplace.folder / "results").exists()
    assert not list((workplace.folder / ".snakemake").glob("locks/*"))
    messages = re.findall(r"^descbench: (.*(?:\n  .*)*)", output, re.M)
    assert len(messages) == 1, output
    return messages[0]


def own_folder(workplace, **block):
    return {"datasets": {"mine": {"format": "folder", **block}}}


@pytest.mark.parametrize("arguments", [("-n",), ("--cores", "1")], ids=["dry", "real"])
def test_folder_that_is_not_there(workplace, arguments):
    overlay = own_folder(workplace, database=str(workplace.folder / "photographs"))
    message = refused(workplace, *arguments, "results/rankings/how_n30/mine.h5", overlay=overlay)
    assert str(workplace.folder / "photographs") in message


def test_network_whose_module_is_not_there(workplace):
    overlay = {
        "models": {"mine": {"architecture": "custom", "factory": "nowhere_at_all:make"}},
        "features": {"mine": {"kind": "global", "model": "mine"}},
        "methods": {"mine": {"search": "euclidean", "features": "mine"}},
    }
    message = refused(workplace, "-n", "results/rankings/mine/alderford.h5", overlay=overlay)
    assert "nowhere_at_all:make: there is no module 'nowhere_at_all'" in message


def test_shard_beyond_the_last(workplace):
    message = refused(workplace, "-n", "results/features/how/alderford/query/00007.h5")
    assert "alderford query has shards 00000 to 00000, not 00007" in message


def test_key_inside_a_dataset(workplace):
    message = refused(workplace, "-n", TABLE, overlay=own_folder(workplace, databse="photographs"))
    assert "overlay.yaml: datasets.mine.databse: unknown key (did you mean 'database'?); allowed here:" in message


def test_catalogue_that_is_broken(workplace):
    (workplace.folder / "broken.yaml").write_text("methods:\n  a: [1\n  b: 2\n")
    message = refused(workplace, "-n", TABLE, overlay={"catalog": ["broken.yaml"]})
    assert message.startswith("broken.yaml, line 3: not valid YAML: while parsing a flow sequence")


def test_default_configuration_that_is_broken(workplace):
    (workplace.folder / "config/config.yaml").write_text("device: cpu\nseed: [1\n")
    message = refused(workplace, "-n", TABLE)
    assert message.startswith("config/config.yaml, line 3: not valid YAML")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("table2", "'table2' is the name of a table; its target is results/table2.csv."),
        ("results/tabel2.csv", "there is no table 'tabel2'; did you mean table2? Tables are table2"),
        ("results/scores/how_n3/alderford.json", "there is no method 'how_n3'; close names: how_n30"),
        ("results/demo/table2.csv", "results/demo/table2.csv is of the configuration config/demo.yaml, which is not"),
        ("results/demo/table2.csv", "--configfile config/demo.yaml -- results/demo/table2.csv` asks for it. Or did"),
    ],
)
def test_target_that_nothing_makes(workplace, target, expected):
    assert expected in refused(workplace, "-n", target)


def test_paths_may_be_written_otherwise(workplace):
    assert workplace.planned("./results//table2.csv", "build_report")["build_report"] == 1


def test_default_configuration_from_another_folder(workplace):
    """A folder with nothing but a file of the user's: the workflow's own configuration and catalogue lie below it."""
    (workplace.folder / "config").rename(workplace.folder / "hidden")
    mine = {"methods": {"mine": {"search": "inner_product", "features": "gem_gl18_tl_r50"}}}
    (workplace.folder / "mine.yaml").write_text(yaml.safe_dump(mine))
    target = "results/scores/mine/roxford5k.json"
    output = workplace.run("-n", target, config="mine.yaml")
    home = workplace.project / "config/config.yaml"
    said = f"There is no config/config.yaml here: that of the workflow is read, {home}."
    assert (output.stdout + output.stderr).count(said) == 1
    assert workplace.planned(target, config="mine.yaml")["score_ranking"] == 1


def test_a_job_reads_the_same_configuration(workplace):
    """Snakemake parses the Snakefile again in every job."""
    (workplace.folder / "config").rename(workplace.folder / "hidden")
    (workplace.folder / "mine.yaml").write_text("device: cpu\n")
    town = workplace.folder / "data/datasets/toytown.json"
    tiny = yaml.safe_load((workplace.folder / "tiny.yaml").read_text())["toytown"]
    (workplace.folder / "mine.yaml").write_text(yaml.safe_dump({"toytown": tiny}))
    workplace.run("--cores", "1", "data/datasets/toytown.json", config="mine.yaml")
    assert town.is_file()
