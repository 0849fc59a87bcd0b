"""Networks, and the mapping of official checkpoints onto them."""

CONVERT_CHECKPOINT_VERSION = 6
