"""Rule build_vocabulary: COLMAP's visual words of the descriptors of the training images."""

from pathlib import Path

from descbench.features.checks import check_shard_files
from descbench.jobs import job
from descbench.retrieval.vocabulary import build_vocabulary

with job(snakemake):
    check_shard_files(snakemake.input, snakemake.params.digest, snakemake.params.images)
    learned = snakemake.params.vocabulary
    build_vocabulary(
        [Path(shard) for shard in snakemake.input],
        Path(snakemake.output[0]),
        n=snakemake.params.n,
        images=learned["images"],
        size=learned["size"],
        iterations=learned["iterations"],
        rounds=learned["rounds"],
        seed=learned["seed"],
    )
