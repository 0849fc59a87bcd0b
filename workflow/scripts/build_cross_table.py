"""Rule build_cross_table: all rows on all datasets that fit them, with paired tests between rows."""

from pathlib import Path

from descbench.config.cross_tables import CrossCell, CrossTable
from descbench.jobs import job
from descbench.report_plan import page_addresses
from descbench.tables.cross_table import build_cross_table

with job(snakemake):
    needed = [tuple(cell) for cell in snakemake.params.needed]
    cells = [dict(cell) for cell in snakemake.params.cells]
    learned = [(cell["row"], cell["dataset"]) for cell in cells if cell.pop("learned")]
    build_cross_table(
        snakemake.wildcards.cross_table,
        CrossTable.model_validate(snakemake.params.table),
        [CrossCell(**cell) for cell in cells],
        {cell: Path(path) for cell, path in zip(needed, snakemake.input.scores, strict=True)},
        dict(zip(needed, snakemake.input.provenance, strict=True)),
        (Path(snakemake.output.csv), Path(snakemake.output.tests), Path(snakemake.output.markdown)),
        learned,
        snakemake.params.restricted,
        page_addresses(snakemake.params.pages, snakemake.output.markdown),
    )
