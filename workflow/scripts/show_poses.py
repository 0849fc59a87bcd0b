"""Rule show_poses: a page with true and estimated cameras from above, and the errors of each query."""

from pathlib import Path

from descbench.jobs import job
from descbench.tables.poses_page import PoseFiles, show_poses

with job(snakemake):
    files, wildcards = snakemake.input, snakemake.wildcards
    show_poses(
        PoseFiles(Path(files.poses), Path(files.scores), Path(files.labels), Path(files.manifest)),
        Path(snakemake.output[0]),
        method=wildcards.method,
        dataset=wildcards.dataset,
    )
