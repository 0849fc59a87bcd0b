"""Rule score_patches: metrics of descriptors, and the record of what they were made from."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.patch_methods import DescribedPatches
from descbench.config.patch_sets import PatchSet
from descbench.jobs import all_or_none, job
from descbench.metrics.patch_protocols import protocol_of, read_described
from descbench.metrics.score_patches import score_patches
from descbench.tables.provenance import write_provenance

with job(snakemake), all_or_none(snakemake.output):
    params, wildcards = snakemake.params, snakemake.wildcards
    block = TypeAdapter(PatchSet).validate_python(params.patch_set)
    method = TypeAdapter(DescribedPatches).validate_python(params.method)
    patches = [Path(path) for path in snakemake.input.patches]
    descriptors = [Path(path) for path in snakemake.input.descriptors]
    found = read_described(patches, descriptors, wildcards.patch_set, block.parts, params.digest)
    protocol = protocol_of(block, method, found.patches, Path(params.datasets))
    score_patches(
        found.arrays(),
        found.labels(),
        protocol,
        Path(snakemake.output.scores),
        cell=f"{wildcards.method} on {wildcards.patch_set}",
        digest=found.digest,
    )
    made = next(iter(found.descriptors.values()))
    facts = {name: getattr(made, name) for name in ("descriptor", "maker", "device")}
    write_provenance(
        Path(snakemake.output.provenance),
        blocks=params.blocks,
        sources=params.sources,
        own_files=params.own_files,
        features={"features": params.digest, **facts},
        inputs=snakemake.input,
    )
