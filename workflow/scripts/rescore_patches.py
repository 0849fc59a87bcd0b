"""Rule rescore_patches: what descriptors of patches score under each choice of their protocol."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.choices.patches import rescore_patches
from descbench.config.patch_methods import DescribedPatches
from descbench.config.patch_sets import PatchSet
from descbench.jobs import job
from descbench.metrics.patch_protocols import protocol_of, read_described

with job(snakemake):
    params, files = snakemake.params, snakemake.input
    block = TypeAdapter(PatchSet).validate_python(params.patch_set)
    method = TypeAdapter(DescribedPatches).validate_python(params.method)
    found = read_described(
        [Path(path) for path in files.patches],
        [Path(path) for path in files.descriptors],
        snakemake.wildcards.patch_set,
        block.parts,
        params.digest,
    )
    protocol = protocol_of(block, method, found.patches, Path(params.datasets))
    rescore_patches(found.arrays(), found.labels(), protocol, Path(files.scores), Path(snakemake.output[0]))
