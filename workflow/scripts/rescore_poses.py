"""Rule rescore_poses: what estimated poses score under each choice of their protocol."""

from pathlib import Path

from descbench.choices.poses import rescore_poses
from descbench.jobs import job

with job(snakemake):
    files, wildcards = snakemake.input, snakemake.wildcards
    rescore_poses(
        Path(files.poses),
        Path(files.labels),
        Path(files.manifest),
        Path(files.scores),
        Path(snakemake.output[0]),
        cell=f"{wildcards.method} on {wildcards.dataset}",
    )
