"""Metrics: one module per protocol, and the stages that score a ranking, the descriptors of a patch set, and poses.

A constant is raised on purpose, whenever the result of its stage changes.
"""

SCORE_RANKING_VERSION = 9
SCORE_PATCHES_VERSION = 3
SCORE_MATCHES_VERSION = 2
SCORE_POSES_VERSION = 3
COUNT_MATCHES_VERSION = 1
