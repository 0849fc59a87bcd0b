"""Features: reading images, running networks over them, and the packed HDF5 store."""

FORMAT_VERSION = 3
EXTRACT_FEATURES_VERSION = 4
IMPORT_FEATURES_VERSION = 3
DESCRIBE_PATCHES_VERSION = 2
IMPORT_DESCRIPTORS_VERSION = 1
