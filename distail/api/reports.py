"""Reports of runs and grids."""

from __future__ import annotations

from pathlib import Path

from distail.progress import Progress
from distail.reporting import Report, write_report


def make_report(target: str | Path, *, out: str | Path | None = None, progress: Progress | None = None) -> Report:
    """Writes one HTML page that tells all about a run or a grid, and needs no network to be read.

    Args:
        target: the run folder, finished or not, scored or not; or the folder of a grid.
        out: file to write, which must not exist; report.html in that folder, or the next free name, when omitted.
        progress: how to report; silent when omitted.

    Raises:
        DistailError: there is neither, what is there cannot be read, or the page cannot be written there.
    """
    return write_report(target, out, progress)
