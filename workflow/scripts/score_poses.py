"""Rule score_poses: errors of estimated poses, and the record of what they were made from."""

from pathlib import Path

from descbench.jobs import all_or_none, job
from descbench.metrics.score_poses import score_poses
from descbench.tables.provenance import read_shard_info, write_provenance

with job(snakemake), all_or_none(snakemake.output):
    params, files = snakemake.params, snakemake.input
    server = params.server or {}
    score_poses(
        Path(files.poses),
        Path(files.labels),
        Path(files.manifest),
        Path(snakemake.output.scores),
        cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
        stated=server.get("shares"),
        stated_for=server.get("poses"),
    )
    write_provenance(
        Path(snakemake.output.provenance),
        blocks=params.blocks,
        sources=params.sources,
        own_files=params.own_files,
        features=read_shard_info(Path(files.features[0])),
        inputs=snakemake.input,
    )
