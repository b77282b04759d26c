"""`distail bench`: grids of runs, on one machine or many."""

from __future__ import annotations

import difflib
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from distail.cli.options import Devices, Output, Repeatable, Whole, parse_assignment, standard_output

if TYPE_CHECKING:
    from distail.bench.running import OpenGrid
    from distail.bench.view import GridStatus

EXIT_FAILED_CELLS = 1
"""The command did its work, and some cells failed."""


@Parameter(name="*")
@dataclass(frozen=True)
class GridPlace:
    """Where a grid's results and data are."""

    out: Path | None = None
    """Folder of the results; bench/NAME when omitted. Several machines that see it may work on it at once."""
    source: str | None = None
    """Where the data are, if not where the grid says."""


@Parameter(name="*")
@dataclass(frozen=True)
class GridPart:
    """Which cells of a grid are meant."""

    row: Annotated[tuple[str, ...], Repeatable] = ()
    """This row alone; may be repeated."""
    where: Annotated[tuple[str, ...], Repeatable] = ()
    """NAME=VALUE of what varies: cells with this value alone; may be repeated, also for several values of one name."""


bench = App(
    name="bench",
    help="Run a grid of methods, imbalances, sizes and seeds, resumably; look at it; print its table.",
    help_format="plaintext",
)


@bench.default
def run(
    grid: str,
    /,
    *,
    workers: Annotated[int | None, Whole] = None,
    cluster: str | None = None,
    devices: Devices = 1,
    retry: Annotated[bool, Parameter(negative=())] = False,
    part: GridPart = GridPart(),
    place: GridPlace = GridPlace(),
    output: Output = Output(),
) -> None:
    """Run every cell of GRID that has no result yet.

    Parameters
    ----------
    grid
        A YAML file, or the folder in which one was run.
    workers
        Processes that work side by side, with the threads or GPUs divided among them; one for each GPU, or 1, when
        omitted.
    cluster
        ray, for a Ray cluster that is started here, or the address of one that runs.
    devices
        Devices of this machine that share the making of each set whose method imitates experts; for one worker.
    retry
        Run failed cells again.
    """
    from distail.bench.view import watching

    opened = _open(grid, part, place, output)
    say = output.progress().say
    quiet = output.quiet or output.json
    with watching(opened, quiet=quiet, terminal=sys.stderr.isatty(), say=say) as watch:
        opened.run(workers=workers, cluster=cluster, devices=devices, retry=retry, watch=watch)
    if not _report(opened, output).failed:
        return
    output.tell(
        "A cell whose setting is changed in the grid runs by the same command. Where the cause lay outside, such as in "
        "want of memory, add --retry."
    )
    sys.exit(EXIT_FAILED_CELLS)


@bench.command
def status(
    grid: str,
    /,
    *,
    part: GridPart = GridPart(),
    place: GridPlace = GridPlace(),
    output: Output = Output(),
) -> None:
    """Say which cells of GRID are done, which run, and how long the rest will take.

    Parameters
    ----------
    grid
        A YAML file, or the folder in which one was run.
    """
    _report(_open(grid, part, place, output), output)


@bench.command
def table(
    grid: str,
    /,
    *,
    format: Literal["text", "markdown", "latex", "csv"] = "text",
    score: Annotated[tuple[str, ...], Repeatable] = ("accuracy",),
    arch: str | None = None,
    part: GridPart = GridPart(),
    place: GridPlace = GridPlace(),
    output: Output = Output(),
) -> None:
    """Print the table of GRID, as far as it is done.

    Parameters
    ----------
    grid
        A YAML file, or the folder in which one was run.
    format
        text for a terminal, markdown, latex for the package booktabs, or csv with one line a figure.
    score
        accuracy, balanced_accuracy, class_std, worst_class, macro_f1, ece, many, medium or few; may be repeated.
    arch
        Network of the students; the first of the grid when omitted.
    """
    from distail.bench.formats import as_text, in_format, note
    from distail.bench.table import build_table

    opened = _open(grid, part, place, output)
    known = opened.results()
    tables = [build_table(opened.grid, opened.plan, known, score=name, architecture=arch) for name in score]
    if format == "text":
        output.tell(*map(as_text, tables), note(tables[0]))
    else:
        standard_output().file.write(in_format(format, tables))


def meant(word: str) -> str:
    """What a word after `bench` may have been meant to be, where it is neither a command nor a grid."""
    close = difflib.get_close_matches(word, ("status", "table"), n=1)
    return "" if Path(word).exists() or not close else f" Did you mean `distail bench {close[0]}`?"


def _open(grid: str, part: GridPart, place: GridPlace, output: Output) -> OpenGrid:
    from distail.bench.running import open_grid

    where: dict[str, list[Any]] = {}
    for assignment in part.where:
        name, value = parse_assignment(assignment, "--where", "images_per_class=10")
        where.setdefault(name, []).append(value)
    opened = open_grid(grid, out=place.out, source=place.source, progress=output.progress())
    return opened.narrowed(part.row, where)


def _where(opened: OpenGrid) -> tuple[str, ...]:
    folder = opened.store.path
    if not opened.store.grid.is_file():
        return (f"Nothing has run yet. Results will be in {folder}.",)
    return f"Results are in {folder}.", f"A page of them: distail report {shlex.quote(str(folder))}"


def _report(opened: OpenGrid, output: Output) -> GridStatus:
    """Says how far a grid is, with its table."""
    from distail.bench.formats import as_text
    from distail.bench.table import build_table
    from distail.bench.view import lines, look

    known = opened.results()
    found = look(opened.store, opened.plan, known)
    facts = {"folder": str(opened.store.path), **found.to_json()}
    built = build_table(opened.grid, opened.plan, known)
    output.show(facts, as_text(built), *lines(found), *_where(opened))
    return found
