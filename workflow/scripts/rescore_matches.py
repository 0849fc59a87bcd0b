"""Rule rescore_matches: what matches of image pairs score under each choice of their protocol."""

from pathlib import Path

from descbench.choices.matches import rescore_matches
from descbench.config.matching_methods import MatchMethod
from descbench.jobs import job
from descbench.matching.homography import HomographySettings
from descbench.metrics.matched_pairs import MatchedFiles
from descbench.metrics.score_matches import MatchScoring

with job(snakemake):
    params, files, wildcards = snakemake.params, snakemake.input, snakemake.wildcards
    method = MatchMethod.model_validate(params.method)
    matched = MatchedFiles(
        [Path(path) for path in files.matches],
        [Path(path) for path in files.features],
        Path(files.pairs),
        Path(files.manifest),
        Path(params.image_root),
        cell=f"{wildcards.method} on {wildcards.dataset}",
        configuration=params.digest,
        made_by=params.features,
    )
    homography = HomographySettings(method.estimator, method.threshold)
    scoring = MatchScoring(method.pixels, params.image_size, homography, method.corners, params.settings)
    rescore_matches(matched, scoring, params.settings, Path(files.scores), Path(snakemake.output[0]))
