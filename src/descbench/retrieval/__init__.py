"""Retrieval: codebooks, ASMK inverted files, flat search, rankings.

The constants below belong to the stages of the same names. They are raised on purpose, whenever the
result of a stage changes, so that Snakemake runs it again.
"""

TRAIN_CODEBOOK_VERSION = 2
BUILD_INDEX_VERSION = 2
COLLECT_STATISTICS_VERSION = 1
SEARCH_INDEX_VERSION = 3
MERGE_RANKINGS_VERSION = 1
SEARCH_FLAT_VERSION = 3
COMPUTE_PAIRS_VERSION = 3
