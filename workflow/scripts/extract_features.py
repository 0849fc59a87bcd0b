"""Rule extract_features: one shard of images through a network."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.models import Features
from descbench.config.networks import Model
from descbench.features.extract import extract_features
from descbench.jobs import job

with job(snakemake):
    params = snakemake.params
    extract_features(
        Path(snakemake.input.manifest),
        snakemake.wildcards.role,
        params.start,
        params.stop,
        Path(params.image_root),
        Path(snakemake.input.checkpoint),
        TypeAdapter(Model).validate_python(params.model),
        TypeAdapter(Features).validate_python(params.settings),
        params.digest,
        Path(snakemake.output[0]),
        images_digest=params.images,
        device=params.device,
        backend=params.backend,
        workers=snakemake.threads - 1,
    )
