"""Rule show_patches: a page with the pairs of patches that a descriptor confuses."""

from pathlib import Path

from descbench.jobs import job
from descbench.tables.patches_page import show_patches

with job(snakemake):
    show_patches(
        [Path(path) for path in snakemake.input.patches],
        [Path(path) for path in snakemake.input.descriptors],
        snakemake.params.distance,
        Path(snakemake.output[0]),
        method=snakemake.wildcards.method,
        patch_set=snakemake.wildcards.patch_set,
    )
