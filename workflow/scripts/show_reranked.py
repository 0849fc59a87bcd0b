"""Rule show_reranked: a page with ranked images and lines between the inliers that they are ordered by."""

from pathlib import Path

from descbench.jobs import job
from descbench.matching.matcher import MatchSettings
from descbench.tables.ranking_page import RankingFiles
from descbench.tables.reranked_page import ShortlistFiles, show_reranked

with job(snakemake):
    features, files, params = snakemake.params.features, snakemake.input, snakemake.params
    labels, scores = files.get("ground_truth"), files.get("scores")
    show_reranked(
        RankingFiles(
            Path(files.ranking),
            Path(files.manifest),
            Path(labels) if labels else None,
            Path(scores) if scores else None,
            Path(params.image_root),
        ),
        ShortlistFiles(
            [Path(path) for path in files.queries],
            [Path(path) for path in files.database],
            MatchSettings(**params.settings),
            params.threshold,
            params.first,
            params.made_by,
        ),
        Path(snakemake.output[0]),
        method=snakemake.wildcards.method,
        dataset=snakemake.wildcards.dataset,
        reading={key: features[key] for key in ("truncated_images", "deep_images") if key in features},
        on_bad_image=features.get("on_bad_image", "stop"),
    )
