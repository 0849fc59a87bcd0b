"""Rule assign_words: visual words of the features of one shard."""

from pathlib import Path

from descbench.features.checks import check_shard_files
from descbench.jobs import job
from descbench.retrieval.words import assign_words

with job(snakemake):
    check_shard_files([snakemake.input.features], snakemake.params.digest, [snakemake.params.images])
    assign_words(
        Path(snakemake.input.features),
        Path(snakemake.input.codebook),
        Path(snakemake.output[0]),
        n=snakemake.params.n,
        bits=snakemake.params.bits,
        multiple_assignment=snakemake.params.multiple_assignment,
        threads=snakemake.threads,
    )
