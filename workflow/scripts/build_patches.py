"""Rule build_patches: the patches of one part of a patch set, and their labels."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.patch_sets import PatchSet
from descbench.datasets.build_patches import build_patches
from descbench.jobs import job

with job(snakemake):
    values, part, count = snakemake.params.patch_set, snakemake.wildcards.part, snakemake.params.expected
    counts = {} if count is None else {part: count}
    build_patches(
        snakemake.wildcards.patch_set,
        TypeAdapter(PatchSet).validate_python({**values, "counts": counts}),
        part,
        Path(snakemake.params.datasets_dir),
        Path(snakemake.output[0]),
    )
