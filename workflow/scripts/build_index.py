"""Rule build_index: one shard of an inverted file."""

from pathlib import Path

from descbench.features.checks import check_shard_files
from descbench.jobs import job
from descbench.retrieval.index import build_index

with job(snakemake):
    check_shard_files([snakemake.input.features], snakemake.params.digest, [snakemake.params.images])
    params = snakemake.params
    build_index(
        Path(snakemake.input.features),
        Path(snakemake.input.codebook),
        Path(snakemake.output[0]),
        n=params.n,
        threads=snakemake.threads,
        **params.index,
    )
