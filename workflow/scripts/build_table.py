"""Rule build_table: a table as CSV and Markdown."""

from pathlib import Path

from descbench.config.tables import Table
from descbench.jobs import job
from descbench.report_plan import page_addresses
from descbench.tables.table import build_table

with job(snakemake):
    cells = [tuple(cell) for cell in snakemake.params.cells]
    scores = {cell: Path(path) for cell, path in zip(cells, snakemake.input.scores, strict=True)}
    provenance = dict(zip(cells, snakemake.input.provenance, strict=True))
    for extra in snakemake.params.extra:
        cell = extra["method"], extra["dataset"]
        scores[cell], provenance[cell] = Path(extra["scores"]), extra["provenance"]
    build_table(
        snakemake.wildcards.table,
        Table.model_validate(snakemake.params.table),
        scores,
        provenance,
        Path(snakemake.output.csv),
        Path(snakemake.output.markdown),
        snakemake.params.restricted,
        page_addresses(snakemake.params.pages, snakemake.output.markdown),
    )
