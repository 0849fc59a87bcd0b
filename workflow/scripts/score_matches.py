"""Rule score_matches: metrics of the matches of image pairs, and the record of what they were made from."""

from pathlib import Path

from descbench.config.matching_methods import MatchMethod
from descbench.jobs import all_or_none, job
from descbench.matching.homography import HomographySettings
from descbench.metrics.matched_pairs import MatchedFiles
from descbench.metrics.score_matches import MatchScoring, score_matches
from descbench.tables.provenance import read_shard_info, write_provenance

with job(snakemake), all_or_none(snakemake.output):
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
    score_matches(
        matched,
        scoring,
        Path(snakemake.output.scores),
        fixed=[Path(path) for path in files.fixed],
        fixed_made_by=params.fixed,
    )
    write_provenance(
        Path(snakemake.output.provenance),
        blocks=params.blocks,
        sources=params.sources,
        own_files=params.own_files,
        features=read_shard_info(Path(files.features[0])),
        inputs=snakemake.input,
    )
