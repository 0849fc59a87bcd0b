"""Several processes that train one network together, each on its own GPU, started by torchrun.

The items of a step (tuples...) are dealt out in turn, and their gradients add up over the processes as they do
in one, so that the number of processes changes a training by rounding alone. In a single process all functions
here do nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from descbench.device import pick_device

# All wait while the first process validates; a process that dies takes the others with it long before.
_PATIENCE = timedelta(days=7)

T = TypeVar("T")


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the processes that torchrun started with this one: by NCCL with a GPU each, by gloo on the CPU.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``; afterwards ``cuda`` means the GPU of this process.

    Raises:
        ConfigError: the device is absent.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    cuda = pick_device(device).type == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # Plain objects always go by gloo: waiting for them keeps no GPU busy and ends when a process dies.
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_PATIENCE)
    yield
    # Not after an error: it would wait for processes that are gone.
    dist.destroy_process_group()


def is_main() -> bool:
    """Whether this is the process that validates and writes files."""
    return _rank() == 0


def local_slice() -> slice:
    """Which items of a list are this process's: every n-th of n processes."""
    return slice(_rank(), None, _size())


def all_gather(mine: Sequence[T]) -> list[T]:
    """The list whose :func:`local_slice` each process brings, in its order and in all processes."""
    if _size() == 1:
        return list(mine)
    parts: list[Any] = [None] * _size()
    dist.all_gather_object(parts, list(mine))
    whole: list[Any] = [None] * sum(map(len, parts))
    for rank, part in enumerate(parts):
        whole[rank :: len(parts)] = part
    return whole


def broadcast(value: T) -> T:
    """The value of the first process, in all."""
    values = [value]
    if _size() > 1:
        dist.broadcast_object_list(values, src=0)
    return values[0]


def barrier() -> None:
    """Wait until all processes are here."""
    all_gather([])


def in_any(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return any(all_gather([flag]))


class SharedGradients:
    """Forward and backward of the items of a step, whose gradients add up over items and processes.

    Args:
        network: whose parameters get the gradients; the same in all processes.
        loss: maps an item to a scalar, by way of every parameter that is not frozen.
    """

    def __init__(self, network: nn.Module, loss: Callable[[Any], torch.Tensor]) -> None:
        module = _Loss(network, loss)
        self._module = module if _size() == 1 else DistributedDataParallel(module)
        self._network = network

    def __call__(self, items: Sequence[Any]) -> list[float]:
        """Losses of the items of all processes, in their order; of no items at all no gradients are left."""
        losses = all_gather(self._alone(items) if _size() == 1 else self._together(items))
        if not losses:
            self._network.zero_grad()
        return losses

    def _alone(self, items: Sequence[Any]) -> list[float]:
        losses = []
        for item in items:
            loss = self._module(item)
            loss.backward()
            losses.append(loss.item())
        return losses

    def _together(self, items: Sequence[Any]) -> list[float]:
        """Gradients are exchanged in the last backward, which every process has, if need be of nothing."""
        losses = []
        waiting = list(items) or [None]
        for position, item in enumerate(waiting, 1):
            with nullcontext() if position == len(waiting) else self._module.no_sync():
                loss = self._module(item)
                # The exchange takes the mean over processes, and a sum is wanted.
                (_size() * loss).backward()
            if item is not None:
                losses.append(loss.item())
        return losses


class _Loss(nn.Module):
    """A loss as a module, since DistributedDataParallel sees the calls of ``forward`` only.

    It has the network's parameters without its buffers, which are frozen and need no exchange.
    """

    def __init__(self, network: nn.Module, loss: Callable[[Any], torch.Tensor]) -> None:
        super().__init__()
        self.parameters_of_network = nn.ParameterList(network.parameters())
        self._loss = loss

    def forward(self, item: Any) -> torch.Tensor:
        """Loss of an item; of None a zero that hangs on all parameters, so that its backward reaches them."""
        if item is None:
            return 0 * torch.stack([value.sum() for value in self.parameters() if value.requires_grad]).sum()
        return self._loss(item)


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1
