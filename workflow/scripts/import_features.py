"""Rule import_features: one shard of descriptors released by the authors."""

from pathlib import Path

from descbench.datasets.manifest import read_manifest
from descbench.features.released import import_features
from descbench.jobs import job

with job(snakemake):
    params = snakemake.params
    images = read_manifest(snakemake.input.manifest).of_role(snakemake.wildcards.role)
    import_features(
        Path(snakemake.input.released),
        snakemake.wildcards.role,
        params.start,
        len(images) if params.stop is None else params.stop,
        len(images),
        params.digest,
        images.slice(params.start, params.stop).digest(),
        Path(snakemake.output[0]),
    )
