"""Rule build_pairs: pairs of images of a dataset, and what relates one to the other."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.datasets import Dataset
from descbench.datasets.build import build_pairs
from descbench.jobs import job

with job(snakemake):
    build_pairs(
        snakemake.wildcards.dataset,
        TypeAdapter(Dataset).validate_python(snakemake.params.dataset),
        Path(snakemake.params.datasets_dir),
        Path(snakemake.input.manifest),
        Path(snakemake.output.pairs),
    )
