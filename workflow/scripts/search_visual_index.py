"""Rule search_visual_index: COLMAP ranks the database for every query."""

from pathlib import Path

from descbench.datasets.manifest import read_manifest
from descbench.features.checks import check_shard_files
from descbench.jobs import job
from descbench.retrieval.search_visual_index import VisualSearch, search_visual_index

with job(snakemake):
    params, files = snakemake.params, snakemake.input
    check_shard_files(files.queries, params.digest, params.images)
    check_shard_files(files.database, params.digest, params.searched)
    search_visual_index(
        Path(files.vocabulary),
        [Path(shard) for shard in files.queries],
        [Path(shard) for shard in files.database],
        Path(snakemake.output[0]),
        VisualSearch(
            **{name: params.settings[name] for name in ("n", "neighbours", "checks", "verified")},
            seed=params.settings["vocabulary"]["seed"],
        ),
        top_k=params.top_k,
        num_distractors=params.num_distractors,
        num_queries=len(read_manifest(files.manifest).of_role("query")),
        asks_itself=params.asks_itself,
        cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
    )
