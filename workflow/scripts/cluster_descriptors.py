"""Rule cluster_descriptors: local descriptors of training images, and their clusters."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.networks import Model
from descbench.jobs import job
from descbench.training.clusters import cluster_descriptors

with job(snakemake):
    cluster_descriptors(
        Path(snakemake.input.start),
        Path(snakemake.input.manifest),
        Path(snakemake.params.image_root),
        TypeAdapter(Model).validate_python(snakemake.params.model),
        Path(snakemake.output[0]),
        device=snakemake.resources.device,
        threads=snakemake.threads,
        workers=snakemake.threads - 1,
    )
