"""Rule import_ranking: a published list of nearest neighbours as a ranking."""

from pathlib import Path

from descbench.jobs import job
from descbench.retrieval.import_ranking import import_ranking

with job(snakemake):
    files, wildcards = snakemake.input, snakemake.wildcards
    cell = f"{wildcards.method} on {wildcards.dataset}"
    import_ranking(Path(files.listed), Path(files.manifest), Path(snakemake.output[0]), cell=cell)
