"""Rule match_images: which features of the two images of each listed pair correspond."""

from pathlib import Path

from descbench.features.checks import check_shard_files
from descbench.jobs import job
from descbench.localization.match_images import match_images
from descbench.matching.matcher import MatchSettings

with job(snakemake):
    params, files, wildcards = snakemake.params, snakemake.input, snakemake.wildcards
    check_shard_files(files.features, params.features, params.images)
    check_shard_files(files.map_features, params.features, params.map_images)
    match_images(
        [Path(path) for path in files.features],
        [Path(path) for path in files.map_features],
        Path(files.pairs),
        Path(snakemake.output[0]),
        MatchSettings(**params.settings),
        role=wildcards.role,
        made_by=params.features,
        configuration=params.digest,
        cell=f"{wildcards.method} on {wildcards.dataset}",
        threads=snakemake.threads,
    )
