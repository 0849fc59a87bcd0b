"""Features: what networks say about images, and the packed files it is kept in.

The version constants are parameters of the workflow's rules: bump one on purpose when the results
of its stage change, and everything made by the older code is made again.
"""

EXTRACT_FEATURES_VERSION = 1
IMPORT_FEATURES_VERSION = 1
FORMAT_VERSION = 1
