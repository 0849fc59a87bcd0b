"""Rule convert_checkpoint: official or drawn weights as a checkpoint of ours."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.networks import Model
from descbench.jobs import job
from descbench.models.checkpoints import convert_checkpoint

with job(snakemake):
    weights = snakemake.input.weights
    convert_checkpoint(
        TypeAdapter(Model).validate_python(snakemake.params.model),
        Path(weights[0] if isinstance(weights, list) else weights) if weights else None,
        Path(snakemake.output[0]),
        seed=snakemake.params.seed,
    )
