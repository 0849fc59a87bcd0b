"""Rule pca_checkpoint: a PCA-whitening of the descriptors behind a network."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.networks import Model
from descbench.jobs import job
from descbench.training.pca import pca_checkpoint

with job(snakemake):
    pca_checkpoint(
        Path(snakemake.input.start),
        Path(snakemake.input.manifest),
        Path(snakemake.params.image_root),
        TypeAdapter(Model).validate_python(snakemake.params.model),
        Path(snakemake.output[0]),
        device=snakemake.resources.device,
        workers=snakemake.threads - 1,
    )
