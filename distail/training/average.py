"""An exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from distail.models.network import Network


class MovingAverage:
    """Follows a network's parameters; buffers, such as running statistics, stay the network's own.

    It begins with the weights as they are, and is m ← decay·m + (1 - decay)·w after each step, as in EDC's code.

    Args:
        network: followed; on the device where it is trained.
        decay: 0 to 1.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self._parameters = list(network.parameters())
        self._decay = decay
        self._means = [parameter.detach().clone() for parameter in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights after a step."""
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            mean.lerp_(parameter, 1 - self._decay)

    @property
    def means(self) -> list[torch.Tensor]:
        """The averages as they are, one a parameter; not copied."""
        return self._means

    def restore(self, means: list[torch.Tensor]) -> None:
        """Goes back to averages that `means` gave."""
        for mean, kept in zip(self._means, means, strict=True):
            mean.copy_(kept)

    @torch.no_grad()
    def exchange(self) -> None:
        """Puts the averages into the network, and what was there in their place; twice changes nothing."""
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            live = parameter.clone()
            parameter.copy_(mean)
            mean.copy_(live)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The network with its averaged weights, for as long as it is looked at."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()
