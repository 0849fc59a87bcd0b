"""The figures of ``make demo``: training helps, and what is trained is better than chance.

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


@pytest.mark.parametrize("method", sorted(PAIRS))
def test_training_helps_on_average_over_the_columns(config, method):
    gains = [
        np.nanmean(per_query(config, method, *column) - per_query(config, PAIRS[method], *column))
        for name, *column in cells(config)
        if name == method
    ]
    assert np.mean(gains) > 0, gains


@pytest.mark.parametrize("method", sorted(PAIRS))
def test_trained_networks_are_better_than_chance_on_average(config, method):
    lines = pd.concat([table(config, name) for name in TABLES])
    labels = {row.label for name in TABLES for row in config.tables[name].rows if row.method == method}
    ours = lines[lines["row"].isin(labels)]
    assert ours["ours"].mean() > ours["chance"].mean()


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
