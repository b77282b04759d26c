"""A network's parameters as one long vector, the form in which trajectories are stored and compared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from distail.errors import DistailError
from distail.models.network import Network


@dataclass(frozen=True)
class FlatLayout:
    """Where each parameter of an architecture lies in one vector.

    The order is that of `parameters()`. Buffers, which are the running statistics of batch normalisation, are not
    included: a network with batch normalisation is not restored by its vector alone.

    Attributes:
        names: dotted name of each parameter.
        shapes: shape of each parameter.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, network: Network) -> FlatLayout:
        """The layout of this network and of all others of its architecture, image shape and classes."""
        named = list(network.named_parameters())
        return cls(tuple(name for name, _ in named), tuple(tuple(parameter.shape) for _, parameter in named))

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Numbers in each parameter."""
        return tuple(prod(shape) for shape in self.shapes)

    @property
    def size(self) -> int:
        """Numbers in all parameters together."""
        return sum(self.lengths)

    @property
    def classifier_start(self) -> int:
        """Where the last two parameters, the classifier's weight and bias, begin."""
        return self.size - sum(self.lengths[-2:])

    def flatten(self, network: Network) -> Float[Tensor, " size"]:
        """A copy of the network's parameters as one vector, cut off from autograd.

        Raises:
            DistailError: the network has other parameters than this layout.
        """
        self._check_network(network)
        return torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])

    def split(self, flat: Float[Tensor, " size"]) -> tuple[Tensor, ...]:
        """Views of the vector, one for each parameter and of its shape, through which gradients pass.

        Raises:
            DistailError: the vector has another length than this layout.
        """
        if flat.shape != (self.size,):
            raise DistailError(
                f"A vector of shape {tuple(flat.shape)} cannot hold the {self.size} parameters of this network. "
                "Was it made with another architecture, image size or number of classes?"
            )
        pieces = flat.split(list(self.lengths))
        return tuple(piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True))

    def load(self, network: Network, flat: Float[Tensor, " size"]) -> None:
        """Copies the vector into the network's parameters, in their type and on their device.

        Raises:
            DistailError: the network has other parameters than this layout, or the vector another length.
        """
        self._check_network(network)
        with torch.no_grad():
            for parameter, piece in zip(network.parameters(), self.split(flat), strict=True):
                parameter.copy_(piece)

    def _check_network(self, network: Network) -> None:
        other = FlatLayout.of(network)
        if other != self:
            raise DistailError(
                f"The network has {other.size} parameters in {len(other.names)} tensors, but {self.size} in "
                f"{len(self.names)} were expected. Build it with the same architecture, image size and classes."
            )
