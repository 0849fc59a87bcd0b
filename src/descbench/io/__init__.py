"""Files: downloads, archives, untrusted pickles, digests, and writing a file in full or not at all."""

DOWNLOAD_SOURCE_VERSION = 2
UNPACK_SOURCE_VERSION = 2
