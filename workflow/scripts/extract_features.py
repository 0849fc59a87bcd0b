"""Rule extract_features: one shard of images through a network."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.datasets import Dataset
from descbench.config.features import Features
from descbench.config.networks import Model
from descbench.datasets.own import list_with_contents
from descbench.features.extract import extract_features
from descbench.jobs import job

with job(snakemake):
    params = snakemake.params
    if params.folders is None:
        images = Path(snakemake.input.manifest)
    else:
        images = list_with_contents(TypeAdapter(Dataset).validate_python(params.folders), Path(params.records))
    extract_features(
        images,
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
        kept=None if params.images is None else Path(params.kept),
        device=snakemake.resources.device,
        backend=params.backend,
        workers=snakemake.threads - 1,
    )
