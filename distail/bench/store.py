"""The folder of a grid: one atomic file a cell, and an index of them that can be made anew at any time.

    FOLDER/grid.yaml           the grid, as it was started last
    FOLDER/sources.json        content hashes of the data
    FOLDER/cells/ab/KEY.json   a finished or failed cell
    FOLDER/index.json          the figures of all cells, for tables; made from the files
    FOLDER/sets/KEY/           run folders of the sets
    FOLDER/experts/ networks/  work that cells share
    FOLDER/claims/             who works on what

Any number of processes, on any number of machines that see the folder, may write cells; files are whole or not there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from distail.artifact import read_json, require_writable, write_json, write_text
from distail.bench.result import FORMAT, CellResult, CellRun
from distail.errors import DistailError
from distail.evaluation.result import Evaluation, parse_evaluation

_BEYOND_RESULT = ("format", "recipe", "evaluation", "traceback", "environment")
_DEPTH = 2
"""Leading digits of a key that name a folder, so that no folder holds a hundred thousand files."""

_PAUSES = 20
"""The index is not written again for this many times as long as writing it took."""

_Stamp = tuple[int, int]
"""Time and size of a file, by which it is known to be the one that was read."""
_Found = dict[str, tuple[_Stamp, CellResult]]


class Store:
    """Results of cells by key."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder)
        self.grid = self.path / "grid.yaml"
        self.sources = self.path / "sources.json"
        self.cells = self.path / "cells"
        self.index = self.path / "index.json"
        self.sets = self.path / "sets"
        self.experts = self.path / "experts"
        self.networks = self.path / "networks"
        self.claims = self.path / "claims"
        self._known: _Found | None = None
        self._out_of_date, self._index_again = False, 0.0

    def begin(self, text: str) -> None:
        """Makes the folder if need be, and keeps the text of the grid in it.

        Raises:
            DistailError: the folder holds something else, or cannot be written to.
        """
        self.require_own()
        require_writable(self.path)
        write_text(self.grid, text)

    def require_own(self) -> None:
        """Refuses a place that holds something else than a grid.

        Raises:
            DistailError: it does.
        """
        if not self.path.exists():
            return
        # What a killed process was writing has a name with a dot before it.
        files = {file.name for file in self.path.iterdir() if file.name[0] != "."} if self.path.is_dir() else {""}
        if files and files.isdisjoint((self.grid.name, self.sources.name)):
            raise DistailError(f"{self.path} is there and holds no grid. Choose another --out; nothing was touched.")

    def require_grid(self) -> str:
        """The text of the grid that was started here.

        Raises:
            DistailError: none was.
        """
        if not self.grid.is_file():
            raise DistailError(
                f"{self.path} is no folder of a grid: it has no {self.grid.name}. Name one that `distail bench` made."
            )
        return self.grid.read_text(encoding="utf-8")

    def file(self, key: str) -> Path:
        """Where the result of a cell lies."""
        return self.cells / key[:_DEPTH] / f"{key}.json"

    def status(self, key: str) -> str | None:
        """'done', 'failed', or None where there is no whole result; reads that one file."""
        try:
            return str(read_json(self.file(key))["status"])
        except (DistailError, KeyError, TypeError):
            return None

    def write(self, run: CellRun) -> None:
        """Keeps the result of a cell."""
        write_json(self.file(run.result.key), run.to_json())

    def set_failure(self, key: str) -> Path:
        """Where it says why a set could not be made, so that other cells that need it do not try again."""
        return self.sets / f"{key}.failed.json"

    def forget(self, result: CellResult) -> None:
        """Drops a failed result, and what is known of its set's failure, so that the cell runs again."""
        if result.set:
            self.set_failure(result.set).unlink(missing_ok=True)
        self.file(result.key).unlink(missing_ok=True)

    def results(self) -> dict[str, CellResult]:
        """Every result by key: from the index, and from the files that changed since it was written.

        A damaged file counts as no result. The index is written anew where it is out of date and the folder allows it,
        but not so often that it would take much of the time of whoever asks again and again.
        """
        known = self._indexed() if self._known is None else self._known
        found: _Found = {}
        for key, stamp in self._files():
            entry = known.get(key)
            if entry is None or entry[0] != stamp:
                result = self._read(key)
                if result is None:
                    continue
                entry = (stamp, result)
            found[key] = entry
        self._out_of_date |= found != known
        self._known = found
        if self._out_of_date and time.monotonic() >= self._index_again:
            self._write_index(found)
        return {key: result for key, (_, result) in found.items()}

    def evaluation(self, key: str) -> Evaluation | None:
        """All scores of a cell; None where it failed.

        Raises:
            DistailError: there is no such result, or it is damaged.
        """
        values = self.content(key)["evaluation"]
        return None if values is None else parse_evaluation(values, str(self.file(key)))

    def content(self, key: str) -> dict[str, Any]:
        """The whole file of a cell.

        Raises:
            DistailError: there is no such result, or it is damaged.
        """
        values = read_json(self.file(key))
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise DistailError(f"{self.file(key)} is no result of a grid. Remove it; the cell runs again.")
        return values

    def _files(self) -> Iterator[tuple[str, _Stamp]]:
        """Key, time and size of every result file."""
        if not self.cells.is_dir():
            return
        with os.scandir(self.cells) as folders:
            for folder in folders:
                if not folder.is_dir():
                    continue
                with os.scandir(folder.path) as files:
                    for file in files:
                        if file.name.endswith(".json") and not file.name.startswith("."):
                            with suppress(FileNotFoundError):  # another process forgets it, to run it again
                                facts = file.stat()
                                yield file.name.removesuffix(".json"), (facts.st_mtime_ns, facts.st_size)

    def _read(self, key: str) -> CellResult | None:
        try:
            values = self.content(key)
            return CellResult.from_json({name: values[name] for name in values if name not in _BEYOND_RESULT})
        except (DistailError, KeyError, TypeError):
            return None

    def _indexed(self) -> _Found:
        """What the index says; nothing where it is missing, damaged or of another format."""
        try:
            written = read_json(self.index)
            if written["format"] != FORMAT:
                return {}
            return {
                key: ((int(moment), int(size)), CellResult.from_json(values))
                for key, (moment, size, values) in written["cells"].items()
            }
        except (DistailError, KeyError, TypeError, ValueError, AttributeError):
            return {}

    def _write_index(self, found: _Found) -> None:
        begun = time.monotonic()
        cells = {key: [*stamp, result.to_json()] for key, (stamp, result) in found.items()}
        with suppress(OSError):  # a folder that may only be read, or a full disk: tables do without
            write_json(self.index, {"format": FORMAT, "cells": cells}, indent=None)
            self._out_of_date = False
        now = time.monotonic()
        self._index_again = now + _PAUSES * (now - begun)
