"""The figures of ``make demo``: training helps in every column, by more than chance and than the choice of queries.

``make check-demo`` runs the demo first; no other test needs its results.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from descbench.config.load import load_config_files
from descbench.config.models import Config

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("table1", "table2", "table3")
# The untrained row that each trained one starts from.
PAIRS = {
    "netvlad_alexnet_trained": "netvlad_alexnet",
    "how_r18_trained_n200": "how_r18_n200",
    "fire_r18_trained_n200": "fire_r18_n200",
}


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config_files(ROOT / "config/config.yaml", ROOT / "config/demo.yaml")


def table(config: Config, name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / config.results_dir / f"{name}.csv")


def per_query(config: Config, method: str, dataset: str, metric: str) -> np.ndarray:
    """One value a query in points, whose mean is the metric; queries that do not count are left out."""
    scores = json.loads((ROOT / config.results_dir / f"scores/{method}/{dataset}.json").read_text())
    if metric.startswith("recall@"):
        depth = int(metric.removeprefix("recall@"))
        hits = [hit is not None and hit <= depth for hit in scores["per_query"]["first_hit"]]
        values = np.array(hits, float)
    else:
        values = np.array(scores["per_query"][metric.replace("map", "ap")], float)
    known = values[~np.isnan(values)]
    assert known.mean() == pytest.approx(scores["metrics"][metric], abs=1e-9)
    return 100 * values


def lower_bound(differences: np.ndarray) -> float:
    """Of the mean: the end of its 95 % interval, by drawing queries with replacement."""
    random = np.random.default_rng(0)
    known = differences[~np.isnan(differences)]
    means = known[random.integers(len(known), size=(4000, len(known)))].mean(1)
    return float(np.quantile(means, 0.025))


def cells(config: Config) -> list[tuple[str, str, str]]:
    """``(trained method, dataset, metric)`` of every cell of a trained row."""
    return [
        (row.method, column.dataset, column.metric)
        for name in TABLES
        for row in config.tables[name].rows
        for column in config.tables[name].columns
        if row.method in PAIRS
    ]


def test_every_trained_row_is_compared(config):
    trained = {name for name, model in config.models.items() if model.weights.source == "train"}
    shown = {row.method for name in TABLES for row in config.tables[name].rows}
    assert {m for m in shown if config.features[config.methods[m].features].model in trained} == set(PAIRS)


def test_training_helps_in_every_column_beyond_its_interval(config):
    gains = {}
    for method, dataset, metric in cells(config):
        trained, untrained = (per_query(config, name, dataset, metric) for name in (method, PAIRS[method]))
        gains[method, dataset, metric] = (np.nanmean(trained - untrained), lower_bound(trained - untrained))
    text = "\n".join(f"{' '.join(cell)}: {mean:+.1f} (at least {low:+.1f})" for cell, (mean, low) in gains.items())
    assert all(low > 0 for _, low in gains.values()), text
    print(text)


def test_trained_networks_are_better_than_chance_beyond_their_interval(config):
    chances = {name: table(config, name).set_index(["dataset", "metric"])["chance"] for name in TABLES}
    for method, dataset, metric in cells(config):
        name = next(n for n in TABLES if method in {row.method for row in config.tables[n].rows})
        chance = chances[name].loc[(dataset, metric)].iloc[0]
        assert lower_bound(per_query(config, method, dataset, metric) - chance) > 0, (method, dataset, metric)


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_whole_and_stand_in_the_report(config, name):
    lines, block = table(config, name), config.tables[name]
    assert len(lines) == len(block.rows) * len(block.columns)
    assert lines["ours"].between(0, 100).all()
    assert lines["chance"].between(0, 100).all()
    report = ROOT / config.results_dir / "report.html"
    section = re.search(rf'<table id="{name}">.*?</table>', report.read_text(), re.DOTALL)[0]
    for value in lines["ours"]:
        assert f">{value:.1f}<" in section
