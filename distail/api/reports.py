"""Reports of runs."""

from __future__ import annotations

from pathlib import Path

from distail.progress import Progress
from distail.reporting import Report, write_report


def make_report(target: str | Path, *, out: str | Path | None = None, progress: Progress | None = None) -> Report:
    """Writes one HTML page that tells all about a run, and needs no network to be read.

    Args:
        target: the run folder, finished or not, scored or not.
        out: file to write, which must not exist; report.html in the run folder, or the next free name, when omitted.
        progress: how to report; silent when omitted.

    Raises:
        DistailError: there is no run, its set cannot be read, or the page cannot be written there.
    """
    return write_report(target, out, progress)
