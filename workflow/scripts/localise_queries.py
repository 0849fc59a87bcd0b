"""Rule localise_queries: poses of queries in a map of points."""

from pathlib import Path

from descbench.jobs import all_or_none, job
from descbench.localization.localise_queries import MapFiles, localise_queries
from descbench.localization.locate import LocationSettings

with job(snakemake), all_or_none(snakemake.output):
    params, files = snakemake.params, snakemake.input
    localise_queries(
        Path(files.manifest),
        Path(files.labels),
        [Path(path) for path in files.features],
        Path(files.matches),
        MapFiles(Path(files.model), Path(files.record)),
        Path(snakemake.output.poses),
        LocationSettings(**params.settings, seed=params.seed),
        origin=params.origin,
        fallback=params.fallback,
        cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
    )
