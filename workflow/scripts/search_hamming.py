"""Rule search_hamming: all queries against one shard of an inverted file of signatures."""

from pathlib import Path

from descbench.jobs import job
from descbench.retrieval.checks import check_images
from descbench.retrieval.search_hamming import Matching, search_hamming

with job(snakemake):
    check_images(snakemake.input.queries, "words shard", snakemake.params.images)
    check_images([snakemake.input.index], "index shard", [snakemake.params.searched])
    search_hamming(
        [Path(words) for words in snakemake.input.queries],
        Path(snakemake.input.index),
        Path(snakemake.input.statistics),
        Path(snakemake.output[0]),
        matching=Matching(**snakemake.params.matching),
        top_k=snakemake.params.top_k,
        num_distractors=snakemake.params.num_distractors,
        cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
    )
