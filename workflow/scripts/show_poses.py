"""Rule show_poses: a page with true and estimated cameras from above, and pictures and the errors of each query."""

from pathlib import Path

from descbench.config.features_base import READING
from descbench.jobs import job
from descbench.tables.poses_page import PoseFiles, show_poses

with job(snakemake):
    files, wildcards, features = snakemake.input, snakemake.wildcards, snakemake.params.features
    read = [Path(path) for path in (files.poses, files.scores, files.labels, files.manifest, files.matches)]
    show_poses(
        PoseFiles(*read, Path(snakemake.params.image_root)),
        Path(snakemake.output[0]),
        method=wildcards.method,
        dataset=wildcards.dataset,
        reading={key: features[key] for key in READING if key in features},
        on_bad_image=features.get("on_bad_image", "stop"),
    )
