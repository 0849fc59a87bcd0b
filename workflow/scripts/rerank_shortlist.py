"""Rule rerank_shortlist: the first images of a ranking in the order of their inliers."""

from pathlib import Path

from descbench.jobs import job
from descbench.matching.rerank_shortlist import rerank_shortlist

with job(snakemake):
    params, files, wildcards = snakemake.params, snakemake.input, snakemake.wildcards
    rerank_shortlist(
        Path(files.ranking),
        [Path(path) for path in files.counts],
        Path(snakemake.output[0]),
        first=params.first,
        based_on=f"{params.ranking} on {wildcards.dataset}",
        configuration=params.digest,
        cell=f"{wildcards.method} on {wildcards.dataset}",
    )
