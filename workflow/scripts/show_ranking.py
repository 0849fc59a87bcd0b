"""Rule show_ranking: a page with ranked images to look at."""

from pathlib import Path

from descbench.config.features_base import READING
from descbench.jobs import job
from descbench.tables.inlier_lines import line_files
from descbench.tables.ranking_page import RankingFiles, show_ranking

with job(snakemake):
    features, files = snakemake.params.features, snakemake.input
    labels, scores = files.get("ground_truth"), files.get("scores")
    title = f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}"
    show_ranking(
        RankingFiles(
            Path(files.ranking),
            Path(files.manifest),
            Path(labels) if labels else None,
            Path(scores) if scores else None,
            Path(snakemake.params.image_root),
            title,
        ),
        Path(snakemake.output[0]),
        title=title,
        reading={key: features[key] for key in READING if key in features},
        on_bad_image=features.get("on_bad_image", "stop"),
        lines=line_files(snakemake.input, snakemake.params.lines),
    )
