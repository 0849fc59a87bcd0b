"""Rule match_shortlist: how many features of some queries and of the first images of their rankings match."""

from pathlib import Path

from descbench.features.checks import check_shard_files
from descbench.jobs import job
from descbench.matching.match_shortlist import Shortlists, match_shortlist
from descbench.matching.matcher import MatchSettings

with job(snakemake):
    params, files, wildcards = snakemake.params, snakemake.input, snakemake.wildcards
    check_shard_files(files.queries, params.features, params.images)
    check_shard_files(files.database, params.features, params.searched)
    match_shortlist(
        Shortlists(
            Path(files.ranking),
            params.first,
            params.start,
            params.stop,
            based_on=f"{params.ranking} on {wildcards.dataset}",
        ),
        [Path(path) for path in files.queries],
        [Path(path) for path in files.database],
        Path(snakemake.output[0]),
        MatchSettings(**params.settings),
        threshold=params.threshold,
        made_by=params.features,
        configuration=params.digest,
        cell=f"{wildcards.method} on {wildcards.dataset}",
        threads=snakemake.threads,
    )
