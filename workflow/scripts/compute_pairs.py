"""Rule compute_pairs: the most similar images of each image, as a pairs file."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.methods import Method
from descbench.features.checks import check_shard_files
from descbench.jobs import job, optional
from descbench.retrieval.pairs import compute_pairs
from descbench.retrieval.run_search import Database

with job(snakemake):
    check_shard_files(snakemake.input.queries, snakemake.params.digest, snakemake.params.images)
    compute_pairs(
        TypeAdapter(Method).validate_python(snakemake.params.method),
        [Path(shard) for shard in snakemake.input.queries],
        Database(
            [Path(shard) for shard in snakemake.input.searched],
            optional(snakemake.input.codebook),
            optional(snakemake.input.statistics),
        ),
        (Path(snakemake.input.query_names), Path(snakemake.input.image_names)),
        Path(snakemake.output[0]),
        top_k=snakemake.params.top_k,
        threads=snakemake.threads,
    )
