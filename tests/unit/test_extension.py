"""A dataset format, an architecture and a way of searching are added to a copy of the project, and counted.

What has to be changed in existing files is what a contributor would have to know; new files cost nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from workplaces import make_workplace

PACKAGE = "src/descbench"
# A list of images with their role, as CSV. Two existing files know it: its block, and its reader.
FORMAT_FILES = {
    f"{PACKAGE}/datasets/role_list.py": '''
"""A list of images with their roles; the image before the underscore is right."""

import csv

from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.manifest import Manifest, rows_of


def read_role_list(dataset, datasets_dir):
    with open(dataset.list, newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = {role: [row["path"] for row in rows if row["role"] == role] for role in ("query", "database")}
    manifest = Manifest(tuple(row for role in names for row in rows_of(role, names[role])))
    known = [name.split("/")[-1].split("_")[0] for name in names["database"]]
    truth = [{"ok": [i for i, k in enumerate(known) if k == name.split("/")[-1].split("_")[0]], "junk": []}
             for name in names["query"]]
    return manifest, GroundTruth("classic", tuple(truth))
''',
}
FORMAT_EDITS = {
    f"{PACKAGE}/config/datasets.py": (
        (
            "Dataset = Annotated[\n    RevisitopDataset\n",
            "Dataset = Annotated[\n    RoleListDataset\n    | RevisitopDataset\n",
        ),
        (
            "class WithDistractorsDataset(",
            '''class RoleListDataset(DatasetBase):
    """A list of images with their roles."""

    format: Literal["role_list"]
    list: UserPath = Field(description="CSV with the columns path and role.")
    images: Below = Field(description="Folder of the images below <data_dir>/datasets.")

    def metrics(self) -> Metrics:
        """The classic protocol."""
        return CLASSIC


class WithDistractorsDataset(''',
        ),
    ),
    f"{PACKAGE}/datasets/build.py": (
        ('    "revisitop": read_revisitop,\n', '    "revisitop": read_revisitop,\n    "role_list": read_role_list,\n'),
        (
            "from descbench.datasets.revisitop import read_revisitop\n",
            "from descbench.datasets.revisitop import read_revisitop\n"
            "from descbench.datasets.role_list import read_role_list\n",
        ),
    ),
}
# A global descriptor: mean colours. One existing file knows it: its block.
NETWORK_FILES = {
    f"{PACKAGE}/models/architectures/mean_colour.py": '''
"""Mean colours."""

import torch
from torch import nn

from descbench.models.levels import LevelNetwork


class MeanColour(LevelNetwork):
    def __init__(self):
        super().__init__()
        self.dim, self.scale = 3, nn.Parameter(torch.ones(3))

    def level(self, image):
        return (nn.functional.normalize(image.mean((2, 3)) * self.scale),)

    def describe(self, image, scales=(1.0,)):
        return self.run_level(image)[0]


def build(model, name=None):
    return MeanColour()


def initialise(network):
    """Nothing is random."""
''',
}
NETWORK_EDITS = {
    f"{PACKAGE}/config/networks.py": (
        ("    HowModel\n", "    MeanColourModel\n    | HowModel\n"),
        (
            "Model = Annotated[",
            '''class MeanColourModel(ModelBase):
    """Mean colours."""

    architecture: Literal["mean_colour"]
    weights: Weights = Field(description="Where the weights come from.")

    def default_features(self) -> dict[str, Any]:
        """One descriptor an image."""
        return {"kind": "global"}


Model = Annotated[''',
        ),
    ),
}
# City-block distances. Three existing files know it: its block, the table of rules, and whoever searches in one call.
SEARCH_FILES = {
    f"{PACKAGE}/retrieval/city_block.py": '''
"""Search by city-block distance."""

import numpy as np

from descbench.features.store import ShardReader
from descbench.retrieval.ranking import PartInfo, rank_scores, ranking_writer


def search_city_block(query_shards, shard, output, top_k, cell=None):
    with ShardReader(shard) as database:
        block = database.read(0, database.num_images)
        ids, vectors = block.image_ids, block.descriptors
        info = PartInfo(int(ids[0]), len(ids), {"features": database.info.features, "cell": cell})
    queries, asked = [], []
    for path in query_shards:
        with ShardReader(path) as reader:
            block = reader.read(0, reader.num_images)
            queries.append(block.descriptors)
            asked.append(reader.image_ids)
    scores = -np.abs(np.concatenate(queries)[:, None] - vectors).sum(2).astype(float)
    found = rank_scores(ids, scores, top_k)
    with ranking_writer(output, info, np.concatenate(asked), found[0].shape[1]) as writer:
        writer.write(0, *found)
''',
    "workflow/scripts/search_city_block.py": """
from pathlib import Path

from descbench.jobs import job
from descbench.retrieval.city_block import search_city_block

with job(snakemake):
    queries = [Path(shard) for shard in snakemake.input.queries]
    cell = f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}"
    shard, part = Path(snakemake.input.database), Path(snakemake.output[0])
    search_city_block(queries, shard, part, snakemake.params.top_k, cell)
""",
    "workflow/rules/city_block.smk": """
rule search_city_block:
    input:
        queries=lambda w: plan.query_features(w.method, w.dataset),
        database=lambda w: plan.paths.feature_shard(cfg.methods[w.method].features, w.searched, "database", w.shard),
    output:
        plan.paths.ranking_part("{method}", "{dataset}", "{searched}", "{shard}"),
    log:
        "logs/search_city_block/{method}/{dataset}/{searched}/{shard}.log",
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="search_city_block")),
    params:
        top_k=get_top_k,
    script:
        "../scripts/search_city_block.py"
""",
}
SEARCH_EDITS = {
    f"{PACKAGE}/config/methods.py": (
        ("    AsmkMethod\n", "    CityBlockMethod\n    | AsmkMethod\n"),
        (
            "Retrieval = Annotated[",
            '''class CityBlockMethod(FlatMethod):
    """Search by city-block distance."""

    stage: ClassVar[str] = "search_city_block"
    search: Literal["city_block"]


Retrieval = Annotated[''',
        ),
    ),
    "workflow/Snakefile": (
        ('include: "rules/ranking.smk"\n', 'include: "rules/ranking.smk"\ninclude: "rules/city_block.smk"\n'),
    ),
    f"{PACKAGE}/retrieval/run_search.py": (
        ('"euclidean": _FLAT,', '"euclidean": _FLAT,\n    "city_block": _Way(_FLAT.prepare, _search_city_block),'),
        (
            "@dataclass(frozen=True)\nclass _Way:",
            """def _search_city_block(method, asked, shard, part):
    search_city_block(asked.queries, shard, part, asked.top_k)


@dataclass(frozen=True)
class _Way:""",
        ),
        (
            "from descbench.retrieval.flat import search_flat\n",
            "from descbench.retrieval.city_block import search_city_block\n"
            "from descbench.retrieval.flat import search_flat\n",
        ),
    ),
}
ADDED = {
    "format": (FORMAT_FILES, FORMAT_EDITS, 2),
    "architecture": (NETWORK_FILES, NETWORK_EDITS, 2),
    "search": (SEARCH_FILES, SEARCH_EDITS, 4),
}
CONFIG = {
    "datasets": {
        "listed": {
            "format": "role_list",
            "list": "list.csv",
            "images": ".",
            "counts": {"query": 2, "database": 4},
        }
    },
    "models": {"mean_colour": {"architecture": "mean_colour", "weights": {"source": "random"}}},
    "methods": {"mean_colour": {"search": "city_block"}},
    "tables": {
        "added": {
            "title": "What was added",
            "synthetic": True,
            "columns": [{"dataset": "listed", "metric": "map", "label": "mAP"}],
            "rows": [{"label": "mean colours", "method": "mean_colour"}],
        }
    },
}


def test_design_allows_as_many_files(project):
    for files, edits, most in ADDED.values():
        assert len(edits) <= most
        assert not any((project / name).exists() for name in files)


@pytest.fixture
def extended(project: Path, tmp_path: Path) -> Path:
    """A copy of the project with everything added."""
    copy = tmp_path / "project"
    for part in ("src", "workflow", "config", "profiles", "envs"):
        shutil.copytree(project / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(project / "Snakefile", copy)
    for files, edits, _ in ADDED.values():
        for name, text in files.items():
            (copy / name).write_text(text)
        for name, changes in edits.items():
            text = (copy / name).read_text()
            for old, new in changes:
                assert text.count(old) == 1, f"{name}: {old!r}"
                text = text.replace(old, new)
            (copy / name).write_text(text)
    return copy


def test_a_row_with_everything_that_was_added(extended: Path, tmp_path: Path, monkeypatch):
    work = make_workplace(tmp_path / "work", extended)
    images = work.folder / "data/datasets/photos"
    images.mkdir(parents=True)
    colours = {"red": (200, 30, 30), "green": (30, 190, 40)}
    rows = ["path,role"]
    for name, colour in colours.items():
        for number, role in enumerate(("query", "database", "database")):
            shade = tuple(c + 9 * number for c in colour)
            Image.new("RGB", (40, 30), shade).save(images / f"{name}_{number}.png")
            rows.append(f"photos/{name}_{number}.png,{role}")
    (work.folder / "list.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(extended / "src"), os.environ.get("PYTHONPATH", "")]))
    # A process of its own imports the package of the copy.
    command = work.command("--cores", "1", "results/added.csv", overlay=CONFIG)
    shown = subprocess.run(command, cwd=work.folder, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"search_city_block\s+1", shown.stdout + shown.stderr)
    table = pd.read_csv(work.folder / "results/added.csv")
    assert table["ours"].tolist() == [100.0]
    program = """
import sys
from pathlib import Path
from descbench.config.load import load_config_files
from descbench.retrieval.ranking import read_ranking
from descbench.retrieval.run_search import run_search
config = load_config_files("config/config.yaml", "tiny.yaml", "overlay.yaml")
shards = [[Path(f"results/features/mean_colour/listed/{role}/00000.h5")] for role in ("query", "database")]
Path("again").mkdir()
run_search(config.methods["mean_colour"], *shards, Path("again"), Path("again/r.h5"), num_queries=2)
one, other = read_ranking(Path("again/r.h5")), read_ranking(Path("results/rankings/mean_colour/listed.h5"))
assert (one.image_ids == other.image_ids).all()
"""
    subprocess.run([sys.executable, "-c", program], cwd=work.folder, check=True)
