"""Rule rescore_ranking: what a ranking scores under each choice of its protocol."""

from pathlib import Path

from descbench.choices.rescore_ranking import rescore_ranking
from descbench.jobs import job

with job(snakemake):
    files, wildcards = snakemake.input, snakemake.wildcards
    rescore_ranking(
        Path(files.ranking),
        Path(files.ground_truth),
        Path(files.manifest),
        Path(files.scores),
        Path(snakemake.output[0]),
        cell=f"{wildcards.method} on {wildcards.dataset}",
    )
