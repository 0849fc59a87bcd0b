"""Rule search_bow: all queries against one shard of an inverted file of word counts."""

from pathlib import Path

from descbench.jobs import job
from descbench.retrieval.checks import check_images
from descbench.retrieval.search_bow import search_bow

with job(snakemake):
    check_images(snakemake.input.queries, "words shard", snakemake.params.images)
    check_images([snakemake.input.index], "index shard", [snakemake.params.searched])
    search_bow(
        [Path(words) for words in snakemake.input.queries],
        Path(snakemake.input.index),
        Path(snakemake.input.statistics),
        Path(snakemake.output[0]),
        top_k=snakemake.params.top_k,
        num_distractors=snakemake.params.num_distractors,
        cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
    )
