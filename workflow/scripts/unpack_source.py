"""Rule unpack_source: the content of a source, in its official place."""

from pathlib import Path

from descbench.config.sources import Source
from descbench.io.archives import unpack_source
from descbench.jobs import job

with job(snakemake):
    marker = Path(snakemake.output[0])
    unpack_source(
        snakemake.wildcards.source,
        Source.model_validate(snakemake.params.source),
        [Path(archive) for archive in snakemake.input],
        marker.parent.parent,
        marker,
    )
