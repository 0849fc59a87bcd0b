"""Datasets: one module per official format, all giving a manifest and a ground truth."""

BUILD_MANIFEST_VERSION = 3
