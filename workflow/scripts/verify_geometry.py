"""Rule verify_geometry: the first images of a ranking in the order of what one transform explains."""

from pathlib import Path

from descbench.jobs import all_or_none, job
from descbench.retrieval.checks import check_images
from descbench.retrieval.verify_geometry import Shards, verify_geometry


def shards(features, words):
    """The files of the same images."""
    return Shards([Path(path) for path in features], [Path(path) for path in words])


with job(snakemake), all_or_none(snakemake.output):
    settings, files = snakemake.params.settings, snakemake.input
    check_images(files.query_words, "words shard", snakemake.params.images)
    check_images(files.database_words, "words shard", snakemake.params.searched)
    verify_geometry(
        Path(files.ranking),
        shards(files.queries, files.query_words),
        shards(files.database, files.database_words),
        Path(snakemake.output.ranking),
        Path(snakemake.output.inliers),
        first=settings["first"],
        error=settings["error"],
        min_inliers=settings["min_inliers"],
        based_on=f"{settings['ranking']} on {snakemake.wildcards.dataset}",
        cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
    )
