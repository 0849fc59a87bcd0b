"""Localisation: a map of 3-D points from images with known poses, and the poses of queries in it.

A constant is raised on purpose, whenever the result of its stage, or the format of its files, changes.
"""

SELECT_PAIRS_VERSION = 1
MATCH_IMAGES_VERSION = 1
RECONSTRUCT_VERSION = 3
LOCALISE_QUERIES_VERSION = 3
