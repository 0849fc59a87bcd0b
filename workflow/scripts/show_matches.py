"""Rule show_matches: a page with curves of the matching accuracy, and image pairs with lines between their matches."""

from pathlib import Path

from descbench.config.features_base import READING
from descbench.jobs import job
from descbench.metrics.matched_pairs import MatchedFiles
from descbench.tables.matches_page import show_matches

with job(snakemake):
    params, files, wildcards = snakemake.params, snakemake.input, snakemake.wildcards
    matched = MatchedFiles(
        [Path(path) for path in files.matches],
        [Path(path) for path in files.features],
        Path(files.pairs),
        Path(files.manifest),
        Path(params.image_root),
        cell=f"{wildcards.method} on {wildcards.dataset}",
        configuration=params.digest,
        made_by=params.made_by,
    )
    show_matches(
        matched,
        Path(files.scores),
        Path(snakemake.output[0]),
        method=wildcards.method,
        dataset=wildcards.dataset,
        figures=params.figures,
        reading={key: params.features[key] for key in READING if key in params.features},
        on_bad_image=params.features.get("on_bad_image", "stop"),
    )
