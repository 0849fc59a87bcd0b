"""Rule select_pairs: which images of a dataset are matched."""

from pathlib import Path

from descbench.jobs import job, optional
from descbench.localization.select_pairs import select_pairs

with job(snakemake):
    params = snakemake.params
    select_pairs(
        Path(snakemake.input.labels),
        Path(snakemake.output.pairs),
        **params.settings,
        ranking=optional(snakemake.input.ranking),
        ranking_cell=f"{params.ranking} on {snakemake.wildcards.dataset}",
    )
