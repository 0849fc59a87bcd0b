"""Scores beside published figures: tidy tables, their Markdown and HTML renderings, and provenance."""

BUILD_TABLE_VERSION = 3
BUILD_REPORT_VERSION = 4
BUILD_REMEASURED_VERSION = 1
SHOW_PLACES_VERSION = 5
SHOW_PATCHES_VERSION = 1
SHOW_INLIERS_VERSION = 1
SHOW_MATCHES_VERSION = 1
