"""Architectures: one module each, named as in the configuration and imported when it is needed.

A module has these functions:

* ``build(model, name=None)``: the network of a block of the configuration, a
  :class:`~descbench.models.levels.LevelNetwork` or :class:`~descbench.models.patches.PatchNetwork` with its dimensions
  as ``dim``; ``name`` is the block's, for messages.
* ``read_official(model, weights)``: a published file as :class:`~descbench.models.published.Published`; DataError
  where it is none, or of another network than the block says.
* ``initialise(network)``: draw initial weights, in place, from torch's random numbers.

Networks that are to be filled from a file are built on torch's meta device. A module whose network cannot be, as it
computes with values or holds some beside its weights, says ``NEEDS_VALUES = True``.

Architectures whose backbone may come from ImageNet also have ``from_imagenet(key)``, the network's key of one of
torchvision's, and ``BEYOND_IMAGENET``, the beginnings of keys that no such file holds.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from descbench.errors import ConfigError


def architecture(name: str) -> ModuleType:
    """The module of an architecture.

    Raises:
        ConfigError: there is none of this name.
    """
    module = f"{__name__}.{name}"
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ConfigError(f"there is no architecture {name!r}.") from None
