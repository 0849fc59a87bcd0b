"""Rule build_report: one page with all tables and the learning curves behind them."""

from pathlib import Path

from descbench.config.models import Table
from descbench.jobs import job
from descbench.tables.report import build_report

with job(snakemake):
    tables = {name: Table.model_validate(block) for name, block in snakemake.params.tables.items()}
    histories = {m: Path(h) for m, h in zip(snakemake.params.trained, snakemake.input.histories, strict=True)}
    csv_files = [Path(path) for path in snakemake.input.tables]
    cells = [tuple(cell) for cell in snakemake.params.cells]
    scores = {cell: Path(path) for cell, path in zip(cells, snakemake.input.scores, strict=True)}
    build_report(tables, csv_files, histories, Path(snakemake.output[0]), scores=scores)
