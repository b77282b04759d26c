"""Looking at what enters the layers of a network, and holding the network still meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

from torch import Tensor, nn

from distail.models import Network

LayerKind = Literal["convolution", "batch_norm"]

_TYPES: dict[LayerKind, type[nn.Module]] = {"convolution": nn.Conv2d, "batch_norm": nn.BatchNorm2d}


def layers_of_kind(network: Network, kinds: tuple[LayerKind, ...]) -> dict[str, LayerKind]:
    """Kinds of the layers that can be looked at, by name, in the order in which the network has them."""
    return {
        name: kind for name, module in network.named_modules() for kind in kinds if isinstance(module, _TYPES[kind])
    }


@contextmanager
def watched(network: Network, layers: dict[str, LayerKind], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Shows every input of some layers while it lasts; no hook is left afterwards, whatever happens.

    Args:
        network: runs layer by layer meanwhile, since fused kernels run no hooks.
        layers: from `layers_of_kind`.
        see: called as see(name of the layer, its input) in every pass; the input carries its graph.
    """

    def show(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        see(name, inputs[0])

    networks = [module for module in network.modules() if isinstance(module, Network)]
    fused_before = [module.fused for module in networks]
    hooks = []
    try:
        for module in networks:
            module.fused = False
        for name in layers:
            hooks.append(network.get_submodule(name).register_forward_pre_hook(partial(show, name)))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, fused in zip(networks, fused_before, strict=True):
            module.fused = fused


@contextmanager
def at_rest(network: Network) -> Iterator[None]:
    """The network in evaluation mode and without gradients of its parameters while it lasts."""
    training = {module: module.training for module in network.modules()}
    wanted = {parameter: parameter.requires_grad for parameter in network.parameters()}
    network.eval()
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
        for parameter, requires in wanted.items():
            parameter.requires_grad_(requires)
