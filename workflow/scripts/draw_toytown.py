"""Rule draw_toytown: the drawn town in official layouts."""

from pathlib import Path

from descbench.config.toytown import Toytown
from descbench.datasets.toytown.draw import draw_toytown
from descbench.jobs import job

with job(snakemake):
    marker = Path(snakemake.output[0])
    draw_toytown(
        Toytown.model_validate(snakemake.params.settings),
        marker.with_suffix(""),
        marker,
        processes=snakemake.threads,
    )
