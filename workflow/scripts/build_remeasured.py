"""Rule build_remeasured: published counts beside ours."""

from pathlib import Path

from descbench.config.remeasured import MatchCounts
from descbench.jobs import job
from descbench.tables.remeasured import Remeasured, build_remeasured

with job(snakemake):
    files = map(Path, snakemake.input)
    measured = {
        name: Remeasured(file=file, **{**entry, "block": MatchCounts.model_validate(entry["block"])})
        for (name, entry), file in zip(snakemake.params.measured.items(), files, strict=True)
    }
    build_remeasured(measured, Path(snakemake.output.csv))
