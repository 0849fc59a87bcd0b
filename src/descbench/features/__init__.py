"""Features: reading images, running networks over them, and the packed HDF5 store."""

FORMAT_VERSION = 1
EXTRACT_FEATURES_VERSION = 1
IMPORT_FEATURES_VERSION = 1
