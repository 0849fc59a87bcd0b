"""Rule reconstruct: a map of points from images with known poses."""

from pathlib import Path

from descbench.jobs import all_or_none, job
from descbench.localization.reconstruct import reconstruct
from descbench.localization.triangulate import TriangulationSettings

with job(snakemake), all_or_none([snakemake.output.record]):
    params, files = snakemake.params, snakemake.input
    settings = dict(params.settings)
    reconstruct(
        Path(files.manifest),
        Path(files.labels),
        [Path(path) for path in files.features],
        Path(files.matches),
        Path(snakemake.output.model),
        Path(snakemake.output.record),
        TriangulationSettings(min_inliers=settings.pop("min_pair_inliers"), **settings, seed=params.seed),
        origin=params.origin,
        cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
    )
