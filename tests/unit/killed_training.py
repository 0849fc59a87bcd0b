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
plain, steps = TupleRecipe.gradients, []


def gradients(self, batch):
    steps.append(1)
    if len(steps) == fatal:
        os.kill(os.getpid(), getattr(signal, name))
    return plain(self, batch)


TupleRecipe.gradients = gradients
train_checkpoint(make_school(folder), MODEL, SETTINGS, device="cpu")
