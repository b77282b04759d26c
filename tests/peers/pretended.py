"""Peers that are not there, so that one process can play each of them in turn."""

from typing import TypeVar

from torch import Tensor

from distail.peers import Peers

T = TypeVar("T")


class Pretended(Peers):
    """Sums are this process's own part, times `factor`; what is broadcast is kept."""

    def __init__(self, rank: int, size: int, factor: float = 1.0) -> None:
        self._rank, self._size, self._factor = rank, size, factor
        self.sent: list[object] = []

    @property
    def rank(self) -> int:
        return self._rank

    @property
    def size(self) -> int:
        return self._size

    def sum(self, tensor: Tensor) -> Tensor:
        return self._factor * tensor

    def broadcast(self, value: T) -> T:
        self.sent.append(value)
        return value
