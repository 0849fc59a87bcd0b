"""Metrics: one module per protocol, and the stage that scores a ranking.

The constant is raised on purpose, whenever the result of the stage changes.
"""

SCORE_RANKING_VERSION = 7
