"""Retrieval: codebooks, ASMK inverted files, flat search, rankings.

The constants below belong to the stages of the same names. They are raised on purpose, whenever the
result of a stage changes, so that Snakemake runs it again.
"""

FORMAT_VERSION = 2
TRAIN_CODEBOOK_VERSION = 3
BUILD_INDEX_VERSION = 3
COLLECT_STATISTICS_VERSION = 2
SEARCH_INDEX_VERSION = 4
MERGE_RANKINGS_VERSION = 2
SEARCH_FLAT_VERSION = 4
COMPUTE_PAIRS_VERSION = 3
