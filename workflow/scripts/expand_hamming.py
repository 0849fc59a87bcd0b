"""Rule expand_hamming: a second search with what matched reliably in the first one."""

import tempfile
from pathlib import Path

from descbench.datasets.manifest import read_manifest
from descbench.jobs import job
from descbench.retrieval.expand_hamming import Expansion, expand_hamming
from descbench.retrieval.search_hamming import Matching

with job(snakemake):
    params, files, output = snakemake.params, snakemake.input, Path(snakemake.output[0])
    with tempfile.TemporaryDirectory(prefix="expand-", dir=output.parent) as work:
        expand_hamming(
            Path(files.ranking),
            [Path(path) for path in files.queries],
            [Path(path) for path in files.database],
            [Path(path) for path in files.indexes],
            Path(files.statistics),
            output,
            Path(work),
            matching=Matching(**params.matching),
            expansion=Expansion(**params.expansion),
            top_k=params.top_k,
            num_queries=len(read_manifest(files.manifest).of_role("query")),
            based_on=f"{params.ranking} on {snakemake.wildcards.dataset}",
            cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
        )
