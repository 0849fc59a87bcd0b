"""Rule count_matches: features and mutual nearest neighbours of a sequence, counted."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.networks import Model
from descbench.jobs import job
from descbench.metrics.match_counts import count_matches

with job(snakemake):
    params = snakemake.params
    checkpoints = dict(zip(params.models, map(Path, snakemake.input.checkpoints), strict=True))
    count_matches(
        snakemake.wildcards.remeasured,
        {name: (checkpoints[name], TypeAdapter(Model).validate_python(block)) for name, block in params.models.items()},
        [Path(path) for path in params.photographs],
        Path(snakemake.output[0]),
        most=params.most,
        settings=params.settings,
        device=snakemake.resources.device,
        backend=params.backend,
        threads=snakemake.threads,
    )
