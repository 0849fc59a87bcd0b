"""Rule convert_checkpoint: official or random weights as a checkpoint of ours."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.networks import Model
from descbench.jobs import job, optional
from descbench.models.checkpoints import convert_checkpoint

with job(snakemake):
    convert_checkpoint(
        TypeAdapter(Model).validate_python(snakemake.params.model),
        optional(snakemake.input.weights),
        Path(snakemake.output[0]),
        seed=snakemake.params.seed,
    )
