"""Rule import_descriptors: anyone's descriptors of one part of a patch set."""

from pathlib import Path

from descbench.config.patch_methods import FilesMethod
from descbench.features.descriptor_files import import_descriptors
from descbench.jobs import job

with job(snakemake):
    method = FilesMethod.model_validate(snakemake.params.method)
    import_descriptors(
        Path(snakemake.input.patches),
        method.folder,
        method.delimiter,
        Path(snakemake.output[0]),
        digest=snakemake.params.digest,
    )
