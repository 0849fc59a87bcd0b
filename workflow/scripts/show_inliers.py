"""Rule show_inliers: a page with ranked images and lines between the inliers of spatial verification."""

from pathlib import Path

from descbench.jobs import job
from descbench.tables.inliers_page import InlierFiles, show_inliers

with job(snakemake):
    features, files = snakemake.params.features, snakemake.input
    show_inliers(
        InlierFiles(
            Path(files.ranking),
            Path(files.inliers),
            Path(files.scores),
            Path(files.ground_truth),
            Path(files.manifest),
            [Path(path) for path in files.queries],
            [Path(path) for path in files.database],
            Path(snakemake.params.image_root),
        ),
        Path(snakemake.output[0]),
        method=snakemake.wildcards.method,
        dataset=snakemake.wildcards.dataset,
        reading={key: features[key] for key in ("truncated_images", "deep_images") if key in features},
        on_bad_image=features.get("on_bad_image", "stop"),
    )
