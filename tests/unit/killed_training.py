"""Train the training on buildings in a process of its own, which a signal hits in the middle of an epoch.

Arguments: folder of the training on buildings, name of the signal, number of the step (over all epochs) that it hits.
"""

import os
import signal
import sys
from pathlib import Path

import torch
from building_training import MODEL, SETTINGS, make_building_training

from descbench.training.train import train_checkpoint
from descbench.training.tuples import TupleRecipe

torch.set_num_threads(1)
folder, name, fatal = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
plain, tuples = TupleRecipe.loss, []


def loss(self, item):
    if len(tuples) == (fatal - 1) * SETTINGS.batch:
        os.kill(os.getpid(), getattr(signal, name))
    tuples.append(item)
    return plain(self, item)


TupleRecipe.loss = loss
train_checkpoint(make_building_training(folder), MODEL, SETTINGS, device="cpu")
