"""Rule train_codebook: k-means over the descriptors of the training images."""

from pathlib import Path

from descbench.features.checks import check_shard_files
from descbench.jobs import job
from descbench.retrieval.codebook import train_codebook

with job(snakemake):
    check_shard_files(snakemake.input, snakemake.params.digest, snakemake.params.images)
    codebook = snakemake.params.codebook
    train_codebook(
        [Path(shard) for shard in snakemake.input],
        Path(snakemake.output[0]),
        n=snakemake.params.n,
        images=codebook["images"],
        size=codebook["size"],
        iterations=codebook["iterations"],
        seed=codebook["seed"],
        device=snakemake.resources.device,
        assignment=codebook["assignment"],
        signatures=snakemake.params.signatures,
        threads=snakemake.threads,
    )
