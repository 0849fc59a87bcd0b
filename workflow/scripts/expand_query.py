"""Rule expand_query: a second search with the mean of each query and of what was verified."""

import tempfile
from pathlib import Path

from descbench.datasets.manifest import read_manifest
from descbench.jobs import job
from descbench.retrieval.expand_query import expand_query

with job(snakemake):
    settings, files, output = snakemake.params.settings, snakemake.input, Path(snakemake.output[0])
    with tempfile.TemporaryDirectory(prefix="expand-", dir=output.parent) as work:
        expand_query(
            Path(files.ranking),
            Path(files.inliers),
            [Path(path) for path in files.queries],
            [Path(path) for path in files.database],
            [Path(path) for path in files.indexes],
            Path(files.statistics),
            output,
            Path(work),
            images=settings["images"],
            min_inliers=settings["min_inliers"],
            top_k=snakemake.params.top_k,
            num_queries=len(read_manifest(files.manifest).of_role("query")),
            based_on=f"{settings['ranking']} on {snakemake.wildcards.dataset}",
            cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
        )
