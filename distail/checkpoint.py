"""Where long work leaves its state, so that a killed process goes on from there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from distail.artifact import TensorFile, read_tensors, write_tensors
from distail.errors import DistailError

INTERVAL_S = 15.0
"""Least time between two states in a file."""
_KIND = "checkpoint"


@runtime_checkable
class Checkpoint(Protocol):
    """Where a method or a training leaves its state, so that a killed run goes on from there."""

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last state saved, or None."""

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any], *, now: bool = False) -> None:
        """Keeps a state; cheap to call often, as it writes only when enough time has passed, or if told `now`."""


class NoCheckpoint:
    """Keeps nothing; for work without a place on disk."""

    def load(self) -> None:
        """Nothing was kept."""

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any], *, now: bool = False) -> None:
        """Keeps nothing."""


class FileCheckpoint:
    """Keeps the latest state in a file, at most once every few seconds.

    Args:
        path: of the file; made with the first state.
        interval_s: least time between two states; `INTERVAL_S` when omitted.
        max_iterations: most iterations that a state may have behind it.
    """

    def __init__(self, path: Path, interval_s: float | None = None, *, max_iterations: int | None = None) -> None:
        self._path = path
        self._limit = max_iterations
        self._interval_s = INTERVAL_S if interval_s is None else interval_s
        self._last = self._begun = time.monotonic()
        self._seconds_before = 0.0

    @property
    def seconds(self) -> float:
        """Wall time spent on the state, over all processes that worked on it."""
        return self._seconds_before + time.monotonic() - self._begun

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The state of a killed run, or None.

        Raises:
            DistailError: more iterations have been done than the run is now asked for, or the file is damaged.
        """
        if not self._path.exists():
            return None
        content = read_tensors(self._path, _KIND)
        done = content.header["values"].get("iteration", 0)
        if self._limit is not None and done > self._limit:
            raise DistailError(
                f"The run has done {done} iterations already, and {self._limit} are asked for. Resume it with "
                f"--set iterations={done} or more, or choose another --out."
            )
        self._seconds_before = content.header["seconds"]
        return content.tensors, content.header["values"]

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any], *, now: bool = False) -> None:
        """Writes the state if the last one is old enough, or if told `now`."""
        time_now = time.monotonic()
        if now or time_now - self._last >= self._interval_s:
            self._last = time_now
            header = {"values": dict(values), "seconds": self.seconds}
            write_tensors(self._path, TensorFile(_KIND, dict(tensors), header))

    def clear(self) -> None:
        """Drops the state of finished work."""
        self._path.unlink(missing_ok=True)
