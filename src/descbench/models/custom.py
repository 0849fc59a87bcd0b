"""Networks of the user's own: any torch module by ``module:callable``, fitted to the pyramid and the store.

What the module's ``forward`` gives of an image (1, 3, H, W) decides what it serves for:

* a tensor (1, D): a global descriptor, for features of kind ``global``;
* a pair of tensors, descriptors (1, D, h, w) and attention (h, w): local ones, for kind ``local``.

A block with ``patches`` is of a network of patches: (N, channels, side, side), pixels in 0..1, give (N, dim). One with
``points`` is of a network of points (:mod:`descbench.models.custom_points`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from descbench.config.custom_contracts import PatchContract
from descbench.config.networks import CustomModel
from descbench.custom_modules import check_arguments, import_callable, user_code
from descbench.errors import ConfigError
from descbench.models.custom_points import CustomPointNet
from descbench.models.levels import LevelNetwork
from descbench.models.local import LocalNetwork, resize
from descbench.models.patches import PatchNetwork

_EXAMPLE_SIDE = 128
_NO_SHAPE = "{factory}: an image {given} gives tensors {shapes}; wanted is (1, D), or (1, D, h, w) and (h, w)."


def build_custom(model: CustomModel, name: str | None = None) -> LevelNetwork | CustomPatchNet:
    """The network of a block, in eval mode, asked once what it gives.

    Args:
        model: the block; what its ``factory`` names is the user's code, and runs here.
        name: of the block, for messages.

    Raises:
        ConfigError: the module or the callable is absent, does not take the arguments, raises an exception (its file
            and line are named), or gives no network of this kind.
    """
    factory = import_callable(model.factory)
    check_arguments(factory, model.arguments, f"models.{name or '<name>'}.arguments: {model.factory}")
    with user_code(model.factory):
        module = factory(**model.arguments)
    if not isinstance(module, nn.Module):
        raise ConfigError(f"{model.factory}: gave a {type(module).__name__}, not a torch module.")
    if model.patches is not None:
        return _of_patches(module, model.factory, model.patches)
    if model.points is not None:
        network = CustomPointNet(module, model.factory, model.points).eval()
        network.try_out()
    else:
        network = _of_images(module.eval(), model.factory)
    network.mean, network.std = model.mean or network.mean, model.std or network.std
    return network


def _of_images(module: nn.Module, factory: str) -> CustomGlobalNet | CustomLocalNet:
    """The network of a block without a contract, asked once what it gives."""
    with torch.inference_mode():
        _, shapes = _ask(module, factory, torch.zeros(1, 3, _EXAMPLE_SIDE, _EXAMPLE_SIDE))
    match shapes:
        case [(1, dim)]:
            return CustomGlobalNet(module, factory, dim)
        case [(1, dim, height, width), (h, w)] if (height, width) == (h, w):
            return CustomLocalNet(module, factory, dim, round(_EXAMPLE_SIDE / height))
        case _:
            raise ConfigError(_NO_SHAPE.format(factory=factory, given="(1, 3, H, W)", shapes=shapes))


def _of_patches(module: nn.Module, factory: str, contract: PatchContract) -> CustomPatchNet:
    """The network of a block with ``patches``, asked once what it gives."""
    network = CustomPatchNet(module, factory, contract).eval()
    with torch.inference_mode():
        network(torch.zeros(2, 1, contract.side, contract.side))
    return network


def _ask(module: nn.Module, factory: str, given: torch.Tensor) -> tuple[Sequence[torch.Tensor], list[object]]:
    """What a module gives, and the shapes of that (the type of what is not a tensor).

    Raises:
        ConfigError: the module raises an exception, or gives tensors of other numbers than floating-point ones.
    """
    with user_code(factory, f"failed on an input {tuple(given.shape)}"):
        found = module(given)
    found = found if isinstance(found, tuple | list) else [found]
    kinds = {str(t.dtype) for t in found if isinstance(t, torch.Tensor) and not t.is_floating_point()}
    if kinds:
        raise ConfigError(f"{factory}: gives {', '.join(sorted(kinds))}; floating-point tensors are needed.")
    return found, [tuple(t.shape) if isinstance(t, torch.Tensor) else type(t).__name__ for t in found]


class CustomPatchNet(PatchNetwork):
    """A module that gives (N, dim) of patches (N, channels, side, side) with pixels in 0..1."""

    def __init__(self, module: nn.Module, factory: str, contract: PatchContract) -> None:
        super().__init__()
        self.module, self.side, self.dim = module, contract.side, contract.dim
        self._factory, self._channels = factory, contract.channels

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(N, dim) of grey patches (N, 1, side, side).

        Raises:
            ConfigError: the user's code fails, or gives something else.
        """
        self.check_patches(patches)
        given = patches.expand(-1, self._channels, -1, -1)
        found, shapes = _ask(self.module, self._factory, given)
        if not torch.jit.is_tracing() and shapes != [(len(patches), self.dim)]:
            raise ConfigError(
                f"{self._factory}: patches {tuple(given.shape)} give {', '.join(map(str, shapes))}; wanted by "
                f"`patches.dim` is ({len(patches)}, {self.dim})."
            )
        return found[0]


class CustomGlobalNet(LevelNetwork):
    """A module that gives (1, D); over a pyramid the mean of unit descriptors, of unit length again."""

    def __init__(self, module: nn.Module, factory: str, dim: int) -> None:
        super().__init__()
        self.module, self._factory, self.dim = module, factory, dim

    def level(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        """(1, D) of one level.

        Raises:
            ConfigError: the user's code fails, or gives something else.
        """
        found, shapes = _ask(self.module, self._factory, image)
        if not torch.jit.is_tracing() and shapes != [(1, self.dim)]:
            raise ConfigError(_NO_SHAPE.format(factory=self._factory, given=tuple(image.shape), shapes=shapes))
        return (nn.functional.normalize(found[0]),)

    def describe(self, image: torch.Tensor, scales: Sequence[float] = (1.0,)) -> torch.Tensor:
        """Descriptor over a pyramid: (1, D)."""
        levels = [level for level in (resize(image, scale) for scale in scales) if level is not None]
        return nn.functional.normalize(sum(self.run_level(level)[0] for level in levels))


class CustomLocalNet(LocalNetwork):
    """A module that gives descriptors (1, D, h, w) and attention (h, w)."""

    def __init__(self, module: nn.Module, factory: str, dim: int, stride: int) -> None:
        super().__init__()
        self.module, self._factory, self.dim, self.stride = module, factory, dim, stride

    def level(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Descriptors (1, D, h, w) and attention (h, w) of one level.

        Raises:
            ConfigError: the user's code fails, or gives something else.
        """
        found, shapes = _ask(self.module, self._factory, image)
        if not torch.jit.is_tracing():
            match shapes:
                case [(1, self.dim, height, width), (h, w)] if (height, width) == (h, w):
                    pass
                case _:
                    raise ConfigError(_NO_SHAPE.format(factory=self._factory, given=tuple(image.shape), shapes=shapes))
        return found[0], found[1]
