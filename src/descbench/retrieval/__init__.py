"""Retrieval: codebooks, inverted files of ASMK and of visual words, verification, flat search, rankings.

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
ASSIGN_WORDS_VERSION = 2
BUILD_BOW_VERSION = 1
SEARCH_BOW_VERSION = 1
VERIFY_GEOMETRY_VERSION = 2
EXPAND_QUERY_VERSION = 2
BUILD_HAMMING_VERSION = 1
SEARCH_HAMMING_VERSION = 1
EXPAND_HAMMING_VERSION = 1
BUILD_VOCABULARY_VERSION = 1
SEARCH_VISUAL_INDEX_VERSION = 1
