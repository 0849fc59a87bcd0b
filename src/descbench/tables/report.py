"""The report: one page with every table and what each of its cells rests on, readable without a network.

What is shown is gathered in modules of its own: tables (:mod:`.shown`), what a cell opens (:mod:`.results`), the first
screen (:mod:`.summary`), curves (:mod:`.report_curves`) and the graph of stages (:mod:`.stage_graph`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from descbench.config.tables import Table
from descbench.tables.curves import learning_curve
from descbench.tables.notes import Cell
from descbench.tables.pages import write_page
from descbench.tables.report_curves import table_drawings
from descbench.tables.results import Evidence, shown_results
from descbench.tables.shown import Key, shown_table
from descbench.tables.stage_graph import draw_stages
from descbench.tables.summary import VERDICTS, summarise
from descbench.tables.table import CHANCE


def build_report(
    tables: Mapping[str, Table],
    scores: Mapping[Cell, Path],
    histories: Mapping[str, Path],
    output: Path,
    evidence: Evidence | None = None,
) -> None:
    """Write ``report.html``: every table as an element ``<table id="table2">`` and so on, then learning curves.

    Args:
        tables: blocks of the configuration, by name.
        scores: scores file of every ``(method, dataset)`` the tables show; those of a `on_demand` column may be
            absent.
        histories: history of every training behind the tables, by model.
        output: the page.
        evidence: what results rest on; None: nothing is known of it.

    Raises:
        DataError: as of :func:`descbench.tables.table.build_table`, and where a file of provenance is damaged.
    """
    evidence = evidence or Evidence()
    ids: dict[Key, str] = {}
    shown = [shown_table(name, table, scores, ids, evidence.restricted) for name, table in tables.items()]
    results = shown_results(shown, ids, scores, evidence, output)
    bases = {(basis.method, basis.dataset): basis for result in results for basis in result.bases}
    write_page(
        output,
        "report.html.jinja",
        title="descbench report",
        tables=[replace(table, drawings=tuple(table_drawings(table, bases, evidence))) for table in shown],
        curves=[learning_curve(model, history) for model, history in histories.items()],
        chance=CHANCE,
        results=results,
        summary=summarise(shown, results),
        verdicts=VERDICTS,
        stages=draw_stages(evidence.graph) if evidence.graph else None,
    )
