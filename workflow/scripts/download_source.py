"""Rule download_source: one file of a source, from its mirrors or the user's own copy."""

from pathlib import Path

from descbench.config.sources import Source
from descbench.io.download import download_source
from descbench.io.run_notes import run_folder
from descbench.jobs import job

with job(snakemake):
    params = snakemake.params
    download_source(
        params.name,
        Source.model_validate(params.source),
        Path(snakemake.output[0]),
        part=params.part,
        mirrors=params.mirrors,
        offline=params.offline,
        run=run_folder(),
    )
