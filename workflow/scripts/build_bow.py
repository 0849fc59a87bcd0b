"""Rule build_bow: one shard of an inverted file of word counts."""

from pathlib import Path

from descbench.jobs import job
from descbench.retrieval.checks import check_images
from descbench.retrieval.search_bow import build_bow

with job(snakemake):
    check_images(snakemake.input, "words shard", [snakemake.params.images])
    build_bow(Path(snakemake.input[0]), Path(snakemake.output[0]))
