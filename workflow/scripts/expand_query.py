"""Rule expand_query: a second search with the mean of each query and of what was verified."""

from pathlib import Path

from descbench.datasets.manifest import read_manifest
from descbench.io.atomic import work_folder
from descbench.jobs import job
from descbench.retrieval.checks import check_images
from descbench.retrieval.expand_query import expand_query
from descbench.retrieval.parts import SearchedFiles

with job(snakemake):
    settings, files, output = snakemake.params.settings, snakemake.input, Path(snakemake.output[0])
    check_images(files.queries, "words shard", snakemake.params.images)
    check_images(files.database, "words shard", snakemake.params.searched)
    check_images(files.indexes, "index shard", snakemake.params.searched)
    with work_folder(output) as work:
        expand_query(
            Path(files.ranking),
            Path(files.inliers),
            SearchedFiles(
                [Path(path) for path in files.queries],
                [Path(path) for path in files.database],
                [Path(path) for path in files.indexes],
                Path(files.statistics),
            ),
            output,
            work,
            images=settings["images"],
            min_inliers=settings["min_inliers"],
            top_k=snakemake.params.top_k,
            num_queries=len(read_manifest(files.manifest).of_role("query")),
            based_on=f"{settings['ranking']} on {snakemake.wildcards.dataset}",
            cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
        )
