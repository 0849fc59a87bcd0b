"""Rule search_index: all queries against one shard of an inverted file."""

from pathlib import Path

from descbench.features.checks import check_shard_files
from descbench.jobs import job, optional
from descbench.retrieval.checks import check_images
from descbench.retrieval.search import search_index

with job(snakemake):
    check_shard_files(snakemake.input.queries, snakemake.params.digest, snakemake.params.images)
    check_images([snakemake.input.index], "index shard", [snakemake.params.searched])
    search_index(
        [Path(shard) for shard in snakemake.input.queries],
        Path(snakemake.input.codebook),
        Path(snakemake.input.index),
        Path(snakemake.output[0]),
        n=snakemake.params.n,
        statistics=optional(snakemake.input.statistics),
        num_distractors=snakemake.params.num_distractors,
        threads=snakemake.threads,
        cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
        **snakemake.params.query,
    )
