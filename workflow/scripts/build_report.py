"""Rule build_report: one page with all tables and the learning curves behind them."""

from pathlib import Path

from descbench.config.tables import Table
from descbench.jobs import job
from descbench.tables.report import build_report

with job(snakemake):
    tables = {name: Table.model_validate(block) for name, block in snakemake.params.tables.items()}
    histories = {m: Path(h) for m, h in zip(snakemake.params.trained, snakemake.input.histories, strict=True)}
    scores = dict(zip(map(tuple, snakemake.params.cells), map(Path, snakemake.input.scores), strict=True))
    scores |= {(cell["method"], cell["dataset"]): Path(cell["scores"]) for cell in snakemake.params.extra}
    build_report(tables, scores, histories, Path(snakemake.output[0]))
