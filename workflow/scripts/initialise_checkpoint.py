"""Rule initialise_checkpoint: a NetVLAD layer set from clusters."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.networks import Model
from descbench.jobs import job
from descbench.training.clusters import initialise_checkpoint

with job(snakemake):
    initialise_checkpoint(
        Path(snakemake.input.start),
        Path(snakemake.input.clusters),
        TypeAdapter(Model).validate_python(snakemake.params.model),
        Path(snakemake.output[0]),
    )
