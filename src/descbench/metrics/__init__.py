"""Metrics: one module per protocol, and the stages that score rankings and descriptors of patches.

The constants are raised on purpose, whenever the result of a stage changes.
"""

SCORE_RANKING_VERSION = 8
SCORE_PATCHES_VERSION = 1
