"""Rule compute_pairs: the most similar images of each image, as a pairs file."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.methods import Method
from descbench.features.checks import check_shard_files
from descbench.jobs import job, optional
from descbench.retrieval.checks import check_images
from descbench.retrieval.pairs import compute_pairs
from descbench.retrieval.run_search import Database

with job(snakemake):
    method, searched = TypeAdapter(Method).validate_python(snakemake.params.method), snakemake.input.searched
    check_shard_files(snakemake.input.queries, snakemake.params.digest, snakemake.params.images)
    if method.needs_codebook:
        check_images(searched, "index shard", snakemake.params.searched)
    else:
        check_shard_files(searched, snakemake.params.digest, snakemake.params.searched)
    compute_pairs(
        method,
        [Path(shard) for shard in snakemake.input.queries],
        Database(
            [Path(shard) for shard in searched],
            optional(snakemake.input.codebook),
            optional(snakemake.input.statistics),
        ),
        (Path(snakemake.input.query_names), Path(snakemake.input.image_names)),
        Path(snakemake.output[0]),
        top_k=snakemake.params.top_k,
        threads=snakemake.threads,
    )
