"""The plan: what reads a disk says so in its name, and what is refused ends Snakemake."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from watching import watched

from descbench.config.load import load_config_files
from descbench.config.models import Config
from descbench.errors import ConfigError
from descbench.lineage import Lineage
from descbench.plan import Plan
from descbench.planning import Planner


@pytest.fixture(scope="module")
def catalog(project: Path) -> Config:
    return load_config_files(project / "config/config.yaml", home=project)


# Arguments of the methods of Lineage that read nothing.
ASKED = {
    "source_files": ("gnd_roxford5k.pkl",),
    "source_of_file": ("gnd_roxford5k.pkl",),
    "downloaded_files": (),
    "base_dataset": ("roxford5k_r1m",),
    "base_block": ("roxford5k_r1m",),
    "searched_datasets": ("roxford5k_r1m",),
    "ranked": ("netvlad_vgg16_max", "tokyo247"),
    "ancestry": ("how_r18",),
    "training_block": ("how_r18_trained",),
    "learned_from": ("how_r18_trained",),
    "models_from": ("train",),
    "models_trained_by": ("train_checkpoint",),
    "models_behind": ("how_r18_n1000",),
    "seed_of": ("how_r18",),
    "methods_behind": ("how_r18_n1000",),
    "features_behind": ("how_r18_n1000",),
    "data_behind": ("how_r18_n1000", "roxford5k"),
    "sources_behind": ("how_r18_n1000", "roxford5k"),
    "blocks_behind": ("how_r18_n1000", "roxford5k"),
    "names_behind": ("how_r18_n1000", "roxford5k"),
    "learns_from": ("how_r18_n1000", "sfm120k"),
    "restricted_behind": ([("fire_n1000", "roxford5k")],),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_a_result_rests_on_is_known_without_reading(catalog, name):
    with watched() as seen:
        assert getattr(Lineage(catalog), name)(*ASKED[name]) not in (None, [], {}, ())
    assert seen == []


def test_the_seed_of_the_site_stands_beside_what_it_decides():
    """And beside nothing else, so that another one makes nothing else anew."""
    how = {"architecture": "how", "backbone": "resnet18"}
    whitened = {"source": "whitened", "start": "drawn", "dataset": "own"}
    weights = {
        "drawn": {"source": "random"},
        "pinned": {"source": "random", "seed": 1},
        "white": whitened,
        "mirrored": {**whitened, "flip": 0.5},
        "trained": {"source": "train", "start": "pinned", "training": "how"},
    }
    config = Config.model_validate(
        {
            "seed": 3,
            "models": {name: {**how, "weights": block} for name, block in weights.items()},
            "training": {"how": {"recipe": "how", "dataset": "own", "learning_rate": 1.0}},
            "datasets": {"own": {"format": "sfm120k", "images": "i", "database": "d"}},
            "features": {"f": {"kind": "local", "model": "trained"}, "g": {"kind": "local", "model": "white"}},
        }
    )
    lineage = Lineage(config)
    assert {name: lineage.seed_of(name) for name in weights} == {
        **dict.fromkeys(weights, 0),
        "drawn": 3,
        "mirrored": 3,
    }
    other = Lineage(config.model_copy(update={"seed": 4}))
    assert other.digest_features("f") == lineage.digest_features("f")
    assert other.digest_features("g") != lineage.digest_features("g")


def test_only_digests_of_lineage_may_read():
    public = {name for name, _ in inspect.getmembers(Lineage, inspect.isfunction) if name[0] != "_"}
    assert {name for name in public if not name.startswith("digest_")} == set(ASKED)


def test_the_report_needs_what_its_tables_show(catalog):
    """No training of a table that is made on demand; with tables named, nothing of the others."""
    usual = Plan(catalog)
    shown = {table: usual.table_cells(table) for table in usual.usual_tables()}
    assert not any(catalog.tables[table].on_demand for table in shown)
    assert set(usual.report_cells()) == {cell for cells in shown.values() for cell in cells}
    behind = {model for method, _ in usual.report_cells() for model in usual.lineage.models_behind(method)}
    assert set(usual.trained_models()) == behind & set(usual.lineage.models_from("train"))
    ours = Plan(catalog.model_copy(update={"report_tables": ("table7", "table2_trained")}))
    assert ours.usual_tables() == ["table7", "table2_trained"]
    assert set(ours.report_cells()) == {*usual.table_cells("table7"), *usual.table_cells("table2_trained")}
    assert ours.trained_models() == ["how_r18_trained", "how_r50-_trained"]


def test_tables_of_the_report_are_tables(project, tmp_path):
    (tmp_path / "mine.yaml").write_text("report_tables: [table22]\n")
    with pytest.raises(ConfigError, match=r"report_tables: there is no 'table22' in section `tables`; .*table2"):
        load_config_files(project / "config/config.yaml", tmp_path / "mine.yaml", home=project)


def test_own_files_are_read_for_a_digest(tmp_path):
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"weights")
    model = {
        "architecture": "custom",
        "factory": "watching:watched",
        "weights": {"source": "custom", "file": str(weights)},
    }
    with watched() as seen:
        digests = Lineage(Config.model_validate({"models": {"own": model}})).digest_own_files("own")
    assert digests[weights.as_posix()] == sha256(b"weights").hexdigest()
    assert any(event == f"open {weights}" for event in seen)


def test_a_plan_refuses_by_ending_snakemake(catalog):
    plan = Planner(Plan(catalog))
    with pytest.raises(SystemExit, match=r"descbench: there is no 'x' in section `datasets`"):
        plan.image_inputs("x")
    with pytest.raises(SystemExit, match="there is no 'x' in section `methods`"):
        plan.lineage.blocks_behind("x", "roxford5k")
    with pytest.raises(SystemExit, match="there is no 'x' in section `datasets`"):
        plan.own_folders.digest_listing("x")
    with pytest.raises(SystemExit, match="there is no 'x' in section `sources`"):
        plan.on_disk.digest_copy("x")
    with pytest.raises(ConfigError):
        Plan(catalog).image_inputs("x")
    assert plan.paths.table("table2") == "results/table2.csv"
    assert plan.paths.results == "results"


def test_what_cannot_be_scored_is_refused_without_a_table_too(catalog):
    """A scores file as a target is of no table, which would refuse it."""
    method = "aachen_superpoint"
    assert catalog.methods[method].pairs == "listed"
    dataset = next(
        name for name, data in catalog.datasets.items() if data.FAMILY == "localisation" and data.lists_pairs
    )
    assert Plan(catalog).local_features(method, dataset, "map")
    block = catalog.datasets[dataset].model_copy(update={"pairs": None, "pair_lists": ()})
    config = catalog.model_copy(update={"datasets": {**catalog.datasets, dataset: block}})
    with pytest.raises(ConfigError, match=rf"^{method} on {dataset}: '{dataset}' lists no pairs of images"):
        Plan(config).local_features(method, dataset, "map")


def test_what_rules_import_is_light(project: Path):
    """Every job of a cluster parses the rules again."""
    workflow = project / "workflow"
    text = "\n".join(path.read_text() for path in (workflow / "Snakefile", *sorted((workflow / "rules").glob("*.smk"))))
    modules = sorted(set(re.findall(r"^(?:from|import) (descbench[.\w]*)", text, re.MULTILINE)))
    assert "descbench.plan" in modules
    heavy = ["cv2", "faiss", "h5py", "kornia", "matplotlib", "pandas", "pycolmap", "scipy", "torch"]
    code = f"import sys, {', '.join(modules)}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
