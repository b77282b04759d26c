"""`Peers`: which part of the work is this process's, and how results come together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

from torch import Tensor

T = TypeVar("T")


class Peers(ABC):
    """The processes that work on one job, this one included. All must ask for the same things in the same order."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many there are."""

    @abstractmethod
    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of all processes' tensors of this shape, the same bits in each; may be the tensor itself."""

    @abstractmethod
    def broadcast(self, value: T) -> T:
        """What the first process gives, whatever others give; its tensors, in dicts and tuples too, are on the CPU."""

    @property
    def is_first(self) -> bool:
        """Whether this is the one process that writes files and reports."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's part of so many images or other things; parts are alike in size, and may be empty."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)


class Alone(Peers):
    """A process without others, for which nothing is copied or sent."""

    @property
    def rank(self) -> int:
        """Always 0."""
        return 0

    @property
    def size(self) -> int:
        """Always 1."""
        return 1

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def broadcast(self, value: T) -> T:
        """The value itself."""
        return value


ALONE = Alone()
"""The usual case."""
