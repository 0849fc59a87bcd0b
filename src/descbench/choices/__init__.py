"""Cells of tables scored again from the same results, as other code bases score them, and what explains a gap.

A constant is raised on purpose, whenever the result of its stage changes.
"""

RESCORE_RANKING_VERSION = 2
RESCORE_PATCHES_VERSION = 2
RESCORE_MATCHES_VERSION = 2
RESCORE_POSES_VERSION = 2
BUILD_PROTOCOL_TABLE_VERSION = 3
