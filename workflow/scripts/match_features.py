"""Rule match_features: which features of the two images of each pair correspond."""

from pathlib import Path

from descbench.features.checks import check_shard_files
from descbench.jobs import job
from descbench.matching.match_features import PairShard, match_features
from descbench.matching.matcher import MatchSettings

with job(snakemake):
    params, files = snakemake.params, snakemake.input
    check_shard_files(files.features, params.features, params.images)
    match_features(
        [Path(path) for path in files.features],
        PairShard(Path(files.pairs), Path(files.manifest), params.start, params.stop),
        Path(snakemake.output[0]),
        MatchSettings(**params.settings),
        made_by=params.features,
        configuration=params.digest,
        cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
        threads=snakemake.threads,
    )
