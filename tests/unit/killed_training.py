"""Train the school in a process of its own, which a signal hits in the middle of an epoch.

Arguments: folder of the school, name of the signal, number of the step (over all epochs) that it hits.
"""

import os
import signal
import sys
from pathlib import Path

import torch
from school import MODEL, SETTINGS, make_school

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
train_checkpoint(make_school(folder), MODEL, SETTINGS, device="cpu")
