"""Curves of descriptors of patches in the report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from drawn_patches import photo_set
from scores_files import write_told

from descbench.config.tables import Table
from descbench.metrics.score_patches import Fpr95, score_patches
from descbench.tables.report import build_report

ROWS = {"sharp": 0.2, "blurred": 1.0}


def table(dataset: str, metric: str) -> Table:
    rows = [{"label": name.title(), "method": name} for name in ROWS]
    columns = [{"dataset": dataset, "metric": metric, "label": "Quay"}]
    return Table.model_validate({"title": "patches", "synthetic": True, "columns": columns, "rows": rows})


def figures(page: str) -> dict[str, str]:
    found = re.findall(r'<figure id="([^"]+)">(.*?)</figure>', page, re.S)
    return dict(found)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder, scores = tmp_path_factory.mktemp("report"), {}
    for name, noise in ROWS.items():
        scores[name, "brown"] = folder / f"{name}.json"
        score_patches(*photo_set(1, noise), Fpr95(), scores[name, "brown"], cell=f"{name} on brown")
    build_report({"table4": table("brown", "fpr95_quay")}, scores, {}, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def test_precision_and_false_positives_are_drawn_over_recall(page):
    drawn = figures(page)
    assert list(drawn) == ["table4-curves-precision", "table4-curves-false-positives"]
    for name, title in (("precision", "precision (%)"), ("false-positives", "false positive rate (%)")):
        figure = drawn[f"table4-curves-{name}"]
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", figure)
        for text in (title, "recall (%)", "quay", "mill"):
            assert text in texts, (name, text)
        assert "Sharp" in figure
        assert "Blurred" in figure
        assert "on quay, mill, with 95 % intervals; dotted: 95 % recall." in figure
        # Of two rows in two panels, a line and a band each, beside the two dotted ones.
        assert len(re.findall(r'id="[^"]*FillBetweenPolyCollection_\d+"', figure)) == 4


def test_scores_without_curves_have_no_such_drawing(tmp_path: Path):
    scores = {
        (name, "town"): write_told(tmp_path / f"{name}.json", {"map_medium": 0.5}, cell=f"{name} on town")
        for name in ROWS
    }
    build_report({"table2": table("town", "map_medium")}, scores, {}, tmp_path / "report.html")
    assert not figures((tmp_path / "report.html").read_text(encoding="utf-8"))
