"""Retrieval: codebooks, ASMK inverted files, flat search, rankings.

The constants below belong to the stages of the same names. They are raised on purpose, whenever the
result of a stage changes, so that Snakemake runs it again.
"""

FORMAT_VERSION = 4
TRAIN_CODEBOOK_VERSION = 5
BUILD_INDEX_VERSION = 5
COLLECT_STATISTICS_VERSION = 4
SEARCH_INDEX_VERSION = 7
MERGE_RANKINGS_VERSION = 5
SEARCH_FLAT_VERSION = 7
COMPUTE_PAIRS_VERSION = 6
