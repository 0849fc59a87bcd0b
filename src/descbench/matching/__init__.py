"""Matching: correspondences of two images by their descriptors, and the homography that explains them.

A constant is raised on purpose, whenever the result of its stage, or the format of its files, changes.
"""

FORMAT_VERSION = 1
MATCH_FEATURES_VERSION = 1
MATCH_SHORTLIST_VERSION = 1
RERANK_SHORTLIST_VERSION = 2
