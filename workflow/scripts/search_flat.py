"""Rule search_flat: all queries against one shard of global descriptors."""

from pathlib import Path

from descbench.features.checks import check_shard_files
from descbench.jobs import job
from descbench.retrieval.flat import search_flat

with job(snakemake):
    check_shard_files(snakemake.input.queries, snakemake.params.digest, snakemake.params.images)
    check_shard_files([snakemake.input.database], snakemake.params.digest, [snakemake.params.searched])
    search_flat(
        [Path(shard) for shard in snakemake.input.queries],
        [Path(snakemake.input.database)],
        Path(snakemake.output[0]),
        measure=snakemake.params.measure,
        top_k=snakemake.params.top_k,
        dim=snakemake.params.dim,
        num_distractors=snakemake.params.num_distractors,
        threads=snakemake.threads,
        cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
    )
