"""Rule show_places: a page with results of place recognition to look at."""

from pathlib import Path

from descbench.config.features_base import READING
from descbench.jobs import job
from descbench.tables.inlier_lines import line_files
from descbench.tables.places_page import show_places

with job(snakemake):
    features = snakemake.params.features
    show_places(
        Path(snakemake.input.ranking),
        Path(snakemake.input.ground_truth),
        Path(snakemake.input.manifest),
        Path(snakemake.params.image_root),
        Path(snakemake.output[0]),
        method=snakemake.wildcards.method,
        dataset=snakemake.wildcards.dataset,
        reading={key: features[key] for key in READING if key in features},
        on_bad_image=features.get("on_bad_image", "stop"),
        lines=line_files(snakemake.input, snakemake.params.lines),
        scores=Path(snakemake.params.scores),
    )
