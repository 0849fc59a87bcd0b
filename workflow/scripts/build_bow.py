"""Rule build_bow: one shard of an inverted file of word counts."""

from pathlib import Path

from descbench.jobs import job
from descbench.retrieval.search_bow import build_bow

with job(snakemake):
    build_bow(Path(snakemake.input[0]), Path(snakemake.output[0]))
