"""Rule build_report: one page with all tables."""

from pathlib import Path

from descbench.config.models import Table
from descbench.jobs import job
from descbench.tables.report import build_report

with job(snakemake):
    tables = {name: Table.model_validate(block) for name, block in snakemake.params.tables.items()}
    build_report(tables, [Path(csv) for csv in snakemake.input], Path(snakemake.output[0]))
