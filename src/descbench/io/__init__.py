"""Files: downloads, archives, pickles of strangers, digests, and writing a file in full or not at all."""
