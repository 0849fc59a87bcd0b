"""Rule build_hamming: one shard of an inverted file of signatures."""

from pathlib import Path

from descbench.jobs import job
from descbench.retrieval.checks import check_images
from descbench.retrieval.search_hamming import build_hamming

with job(snakemake):
    check_images(snakemake.input, "words shard", [snakemake.params.images])
    build_hamming(Path(snakemake.input[0]), Path(snakemake.output[0]))
