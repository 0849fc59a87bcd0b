"""Rule build_protocol_table: the cells of a table under other choices of scoring."""

from pathlib import Path

from descbench.choices.protocol_table import build_protocol_table
from descbench.config.tables import Table
from descbench.jobs import job
from descbench.report_plan import page_addresses

with job(snakemake):
    cells = [tuple(cell) for cell in snakemake.params.cells]
    scores, rescored = (
        {cell: Path(path) for cell, path in zip(cells, paths, strict=True)}
        for paths in (snakemake.input.scores, snakemake.input.rescored)
    )
    variants = map(tuple, snakemake.params.variants)
    scores |= {cell: Path(path) for cell, path in zip(variants, snakemake.input.variants, strict=True)}
    scores |= {(extra["method"], extra["dataset"]): Path(extra["scores"]) for extra in snakemake.params.extra}
    build_protocol_table(
        snakemake.wildcards.table,
        Table.model_validate(snakemake.params.table),
        scores,
        rescored,
        Path(snakemake.output.csv),
        Path(snakemake.output.markdown),
        snakemake.params.restricted,
        page_addresses(snakemake.params.pages, snakemake.output.markdown),
    )
