"""Features: reading images, running networks over them, and the packed HDF5 store."""

FORMAT_VERSION = 2
EXTRACT_FEATURES_VERSION = 3
IMPORT_FEATURES_VERSION = 2
