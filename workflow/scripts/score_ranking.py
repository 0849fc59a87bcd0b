"""Rule score_ranking: metrics of a ranking, and the record of what they were made from."""

from pathlib import Path

from descbench.jobs import all_or_none, job
from descbench.metrics.score import score_ranking
from descbench.tables.provenance import read_shard_info, write_provenance


def read_features():
    """What the features of the queries say of how they were made; of a published list its digest alone."""
    shards = snakemake.input.features
    return read_shard_info(Path(shards[0])) if shards else {"features": snakemake.params.digest}


with job(snakemake), all_or_none(snakemake.output):
    score_ranking(
        Path(snakemake.input.ranking),
        Path(snakemake.input.ground_truth),
        Path(snakemake.output.scores),
        left_out=Path(snakemake.input.left_out),
        query_shards=[Path(shard) for shard in snakemake.input.features],
        manifest=Path(snakemake.input.manifest),
        cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
    )
    write_provenance(
        Path(snakemake.output.provenance),
        blocks=snakemake.params.blocks,
        sources=snakemake.params.sources,
        own_files=snakemake.params.own_files,
        features=read_features(),
        inputs=snakemake.input,
    )
