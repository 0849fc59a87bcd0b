"""Datasets: one module per official format, all giving a manifest and a ground truth; image pairs and patch sets."""

BUILD_MANIFEST_VERSION = 3
BUILD_PAIRS_VERSION = 1
BUILD_PATCHES_VERSION = 1
