"""Rule expand_hamming: a second search with what matched reliably in the first one."""

from pathlib import Path

from descbench.datasets.manifest import read_manifest
from descbench.io.atomic import work_folder
from descbench.jobs import job
from descbench.retrieval.checks import check_images
from descbench.retrieval.expand_hamming import Expansion, expand_hamming
from descbench.retrieval.parts import SearchedFiles
from descbench.retrieval.search_hamming import Matching

with job(snakemake):
    params, files, output = snakemake.params, snakemake.input, Path(snakemake.output[0])
    check_images(files.queries, "words shard", snakemake.params.images)
    check_images(files.database, "words shard", snakemake.params.searched)
    check_images(files.indexes, "index shard", snakemake.params.searched)
    with work_folder(output) as work:
        expand_hamming(
            Path(files.ranking),
            SearchedFiles(
                [Path(path) for path in files.queries],
                [Path(path) for path in files.database],
                [Path(path) for path in files.indexes],
                Path(files.statistics),
            ),
            output,
            work,
            matching=Matching(**params.matching),
            expansion=Expansion(**params.expansion),
            top_k=params.top_k,
            num_queries=len(read_manifest(files.manifest).of_role("query")),
            based_on=f"{params.ranking} on {snakemake.wildcards.dataset}",
            cell=f"{snakemake.wildcards.method} on {snakemake.wildcards.dataset}",
        )
