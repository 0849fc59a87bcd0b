"""Rule collect_statistics: document frequencies over all shards of a search."""

from pathlib import Path

from descbench.jobs import job
from descbench.retrieval.checks import check_images
from descbench.retrieval.statistics import collect_statistics

with job(snakemake):
    check_images(snakemake.input, "index shard", snakemake.params.images)
    collect_statistics(
        [Path(shard) for shard in snakemake.input], Path(snakemake.output[0]), stale=snakemake.params.stale
    )
