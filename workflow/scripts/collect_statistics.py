"""Rule collect_statistics: document frequencies over all shards of a search."""

from pathlib import Path

from descbench.jobs import job
from descbench.retrieval.statistics import collect_statistics

with job(snakemake):
    collect_statistics(
        [Path(shard) for shard in snakemake.input], Path(snakemake.output[0]), stale=snakemake.params.stale
    )
