"""Rule import_features: one shard of descriptors released by the authors."""

from pathlib import Path

from descbench.features.released import import_features
from descbench.features.shards import ShardSpec
from descbench.jobs import job

with job(snakemake):
    params = snakemake.params
    import_features(
        Path(snakemake.input.released),
        ShardSpec.read(
            Path(snakemake.input.manifest),
            snakemake.wildcards.role,
            params.start,
            params.stop,
            features=params.digest,
        ),
        Path(snakemake.output[0]),
    )
