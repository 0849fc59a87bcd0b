"""Rule merge_rankings: the rankings of all shards as one."""

from pathlib import Path

from descbench.datasets.manifest import read_manifest
from descbench.jobs import job
from descbench.retrieval.ranking import merge_rankings

with job(snakemake):
    merge_rankings(
        [Path(part) for part in snakemake.input.parts],
        Path(snakemake.output[0]),
        top_k=snakemake.params.top_k,
        num_queries=len(read_manifest(snakemake.input.manifest).of_role("query")),
        asks_itself=snakemake.params.asks_itself,
        cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
    )
