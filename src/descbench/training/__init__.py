"""Training: initialisation by clusters and whitenings, mining, the training loop and its validation.

The constants belong to the stages of the same names; they are raised on purpose, whenever the result of a
stage changes, so that Snakemake runs it again.
"""

WHITEN_CHECKPOINT_VERSION = 3
TRAIN_CHECKPOINT_VERSION = 3
TRAIN_ON_CROPS_VERSION = 4
CLUSTER_DESCRIPTORS_VERSION = 2
INITIALISE_CHECKPOINT_VERSION = 3
PCA_CHECKPOINT_VERSION = 3
