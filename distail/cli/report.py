"""`distail report`: everything about a run or a grid on one page."""

from __future__ import annotations

from pathlib import Path

from distail.cli.options import Output


def report(target: Path, /, *, out: Path | None = None, output: Output = Output()) -> None:
    """Write one HTML page that tells all about a run or a grid, and needs no network to be read.

    Parameters
    ----------
    target
        A run folder, finished or not, scored or not; or the folder of a grid that `distail bench` made.
    out
        File to write; must not exist. report.html in that folder when omitted, where it replaces an earlier report.
    """
    from distail.progress import format_bytes
    from distail.reporting import report_text, write_report

    made = write_report(target, out, output.progress())
    where = f"The page is {made.path} ({format_bytes(made.num_bytes)}); open it in a browser."
    output.show(made.to_json(), *report_text(made), where)
