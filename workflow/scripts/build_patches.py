"""Rule build_patches: the patches of one part of a patch set, and their labels."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.patch_sets import PatchSet
from descbench.datasets.build_patches import build_patches
from descbench.jobs import job

with job(snakemake):
    build_patches(
        snakemake.wildcards.patch_set,
        TypeAdapter(PatchSet).validate_python(snakemake.params.patch_set),
        snakemake.wildcards.part,
        Path(snakemake.params.datasets_dir),
        Path(snakemake.output[0]),
    )
