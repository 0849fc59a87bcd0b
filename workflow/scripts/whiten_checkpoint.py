"""Rule whiten_checkpoint: the reduction of a network becomes a PCA-whitening."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.networks import Model
from descbench.jobs import job
from descbench.training.whitening import whiten_checkpoint

with job(snakemake):
    whiten_checkpoint(
        Path(snakemake.input.start),
        Path(snakemake.input.manifest),
        Path(snakemake.params.image_root),
        TypeAdapter(Model).validate_python(snakemake.params.model),
        Path(snakemake.output[0]),
        seed=snakemake.params.seed,
        device=snakemake.resources.device,
        workers=snakemake.threads - 1,
    )
