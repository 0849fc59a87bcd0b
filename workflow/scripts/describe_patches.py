"""Rule describe_patches: descriptors of one part of a patch set."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.networks import Model
from descbench.config.patch_methods import PatchMethod
from descbench.features.describe_patches import (
    classical_describer,
    describe_patches,
    network_describer,
    of_configuration,
    with_decimals,
)
from descbench.jobs import job

with job(snakemake):
    params = snakemake.params
    method = PatchMethod.model_validate(params.method)
    if method.model is None:
        describer = classical_describer(method.describe)
    else:
        model = TypeAdapter(Model).validate_python(params.model)
        describer = network_describer(Path(snakemake.input.checkpoint[0]), model, device=snakemake.resources.device)
    if method.decimals is not None:
        describer = with_decimals(describer, method.decimals)
    describe_patches(
        Path(snakemake.input.patches),
        of_configuration(describer, params.digest),
        Path(snakemake.output[0]),
        of=(snakemake.wildcards.patch_set, snakemake.wildcards.part),
    )
