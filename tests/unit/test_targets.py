"""A target that nothing makes is answered with what was probably meant."""

import pytest

from descbench.config.load import load_config
from descbench.config.yaml_files import read_yaml
from descbench.plan import Plan
from descbench.targets import explain_target

PATTERNS = (
    "data/demo/raw/{file}",
    "results/demo/manifests/{dataset}.csv",
    "results/demo/manifests/{dataset}.gt.json",
    "results/demo/checkpoints/{model}.pt",
    "results/demo/features/{features}/{dataset}/{role}/{shard}.h5",
    "results/demo/rankings/{method}/{dataset}.h5",
    "results/demo/rankings/{method}/{dataset}/{searched}/{shard}.h5",
    "results/demo/scores/{method}/{dataset}.json",
    "results/demo/scores/{method}/{patch_set}.json",
    "results/demo/pairs/{method}/{images}__{queries}.txt",
    "results/demo/{table}.csv",
    "results/demo/{table}.md",
    "results/demo/report.html",
    "results/demo/patches/{patch_set}/{part}.h5",
)


@pytest.fixture(scope="module")
def plan(project):
    return Plan(load_config(read_yaml(project / "config/demo.yaml")))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("table2", "'table2' is the name of a table; its target is results/demo/table2.csv"),
        ("tabel2", "Did you mean results/demo/table2.csv?"),
        ("al", "Did you mean all?"),
        ("results/demo/tabel2.csv", "no table 'tabel2'; did you mean table2? Tables are table1, table2, table3"),
        ("results/demo/mine.csv", "there is no table 'mine'; known: table1, table2, table3"),
        ("results/demo/mine.csv", "Names of another configuration need its --configfile"),
        ("results/table2.csv", "Did you mean results/demo/table2.csv? Results lie in results/demo/."),
        ("results/demo/cross/retrieval", "Did you mean results/demo/cross/retrieval.csv?"),
        ("results/demo/table2", "Did you mean results/demo/table2.csv?"),
        ("results/demo/report", "Did you mean results/demo/report.html?"),
        ("results/demo/reprot.html", "Did you mean results/demo/report.html?"),
        ("results/demo/scores/how_r18_n20/alderford.json", "no method 'how_r18_n20'; close names: how_r18_n200"),
        ("results/demo/scores/how_r18_n200/alderfort.json", "there is no dataset 'alderfort'; close names: alderford"),
        ("results/demo/scores/how/village.json", "there is no dataset 'village'; known: alderford, brackwell"),
        ("results/demo/scores/sift/markt.json", "there is no patch set 'markt'; close names: market"),
        ("results/demo/scores/sift/alderford.json", "'sift' is scored on patch sets, and 'alderford' is none of them"),
        ("results/demo/scores/how_r18_n200/walls.json", "is scored on datasets, and 'walls' is none of them"),
        ("results/demo/manifests/alderfort.gt.json", "there is no dataset 'alderfort'"),
        ("results/demo/checkpoints/how_18.pt", "there is no model 'how_18'; close names: how_r18"),
        ("results/demo/features/how_r18/alderford/qeury/00000.h5", "'qeury' is not a role (query, database, train,"),
        ("results/demo/features/how_r18/alderford/query/0.h5", "'0' is not a shard (00000 and so on)"),
        ("results/demo/pairs/how_r18_n200/alderford__brackwell.txt", "its names are known, but no results/demo/pairs/"),
        ("data/demo/raw/x.zip", "there is no source 'x.zip'; known: none"),
        ("elsewhere/x", "nothing makes elsewhere/x. Results lie in results/demo/. Tables are results/demo/table1"),
    ],
)
def test_answer(plan, target, expected):
    answer = explain_target(target, PATTERNS, plan, ["all", "build_report"])
    assert expected in answer
    assert "\n" not in answer


@pytest.fixture
def default(project):
    """The plan without an overlay, in a folder with another configuration."""
    return Plan(load_config({"catalog": [], "tables": {}}))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("results/mine/table2.csv", "config/mine.yaml -- results/mine/table2.csv` asks for it."),
        ("./results//mine/x", "./results//mine/x is of the configuration config/mine.yaml, which is not given: `snake"),
        ("my_data/raw/a.zip", "my_data/raw/a.zip is of the configuration config/mine.yaml"),
        ("results/mine/deep/table2.csv", "is of the configuration config/deep.yaml"),
        ("results/minetable2.csv", "nothing makes results/minetable2.csv"),
        ("results/table2.csv", "nothing makes results/table2.csv"),
    ],
)
def test_target_of_a_configuration_that_is_not_given(default, tmp_path, monkeypatch, target, expected):
    """Its folder of results or data tells; a configuration that cannot be read is passed over."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    files = {
        "config": "device: cpu\n",
        "broken": "a: [\n",
        "mine": "results_dir: results/mine/\ndata_dir: my_data\n",
        "deep": "results_dir: ./results/mine/deep\n",
    }
    for name, content in files.items():
        (tmp_path / f"config/{name}.yaml").write_text(content)
    assert expected in explain_target(target, PATTERNS, default, ["all"])


def test_target_of_the_configuration_that_is_given(plan, project, monkeypatch):
    """The demo's own, and a table of the default one that the demo has too, are told of as before."""
    monkeypatch.chdir(project)
    for target in ("results/demo/tabel2.csv", "results/table2.csv"):
        assert "is of the configuration" not in explain_target(target, PATTERNS, plan, ["all"])
    default = Plan(load_config({"catalog": [], "tables": {}}))
    told = explain_target("results/demo/table2.csv", PATTERNS, default, ["all"])
    assert told == (
        "results/demo/table2.csv is of the configuration config/demo.yaml, which is not given: "
        "`snakemake --cores 8 --configfile config/demo.yaml -- results/demo/table2.csv` asks for it."
    )
