"""Rule build_manifest: the uniform image list and ground truth of a dataset."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.datasets import Dataset
from descbench.datasets.build import build_manifest
from descbench.jobs import job

with job(snakemake):
    build_manifest(
        snakemake.wildcards.dataset,
        TypeAdapter(Dataset).validate_python(snakemake.params.dataset),
        Path(snakemake.params.datasets_dir),
        Path(snakemake.output.manifest),
        Path(snakemake.output.ground_truth),
        Path(snakemake.output.left_out),
        records=Path(snakemake.params.records),
        listing=snakemake.params.listing,
    )
