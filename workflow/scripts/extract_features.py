"""Rule extract_features: features of one shard of images."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.datasets import Dataset
from descbench.config.features import Features
from descbench.config.networks import Model
from descbench.datasets.manifest import read_manifest
from descbench.datasets.own import list_with_contents
from descbench.features.extract import extract_features
from descbench.features.extractor import Network
from descbench.features.shards import ShardSpec
from descbench.jobs import job

with job(snakemake):
    params = snakemake.params
    if params.folders is None:
        listed, source = read_manifest(snakemake.input.manifest), snakemake.input.manifest
    else:
        folders = TypeAdapter(Dataset).validate_python(params.folders)
        listed, source = list_with_contents(folders, Path(params.records)), f"the folders below {params.image_root}"
    models = {name: TypeAdapter(Model).validate_python(values) for name, values in params.models.items()}
    checkpoints = map(Path, snakemake.input.checkpoints)
    networks = {name: Network(path, models[name]) for name, path in zip(models, checkpoints, strict=True)}
    extract_features(
        ShardSpec(
            listed,
            source,
            role=snakemake.wildcards.role,
            start=params.start,
            stop=params.stop,
            features=params.digest,
            images=params.images,
        ),
        Path(params.image_root),
        networks,
        TypeAdapter(Features).validate_python(params.settings),
        Path(snakemake.output[0]),
        pixel_labels=params.pixel_labels,
        kept=None if params.images is None else Path(params.kept),
        device=snakemake.resources.device,
        backend=params.backend,
        workers=snakemake.threads - 1,
    )
