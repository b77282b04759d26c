"""The results of a grid as papers print them: rows, columns of what varies, mean and deviation, the best marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Literal

from distail.bench.cell import IMBALANCE, IPC, Place, in_short, shown
from distail.bench.grid import Grid, combinations
from distail.bench.jobs import Plan
from distail.bench.result import SCORE_TITLES, SCORES, CellResult
from distail.catalog import built_in, recipe_names
from distail.errors import DistailError, did_you_mean
from distail.evaluation.metrics import Summary, summarise
from distail.evaluation.recipe import EvaluationRecipe
from distail.methods._registry import find_method

SMALLER_IS_BETTER = ("class_std", "ece")  # never marked, as they are small too where students know nothing

Mark = Literal["best", "second", ""]


@dataclass(frozen=True)
class TableCell:
    """One figure.

    Attributes:
        summary: over all students of all sets; None where there is nothing yet.
        sets: how many sets or baselines it is over.
        missing: cells that are not finished.
        failed: cells that failed.
        mark: among the rows of its label protocol.
        stored_bytes, distill_seconds, peak_memory_bytes: means over sets; of a baseline the seconds are those of
            training one network. None where unknown.
    """

    summary: Summary | None = None
    sets: int = 0
    missing: int = 0
    failed: int = 0
    mark: Mark = ""
    stored_bytes: float | None = None
    distill_seconds: float | None = None
    peak_memory_bytes: float | None = None


@dataclass(frozen=True)
class TableRow:
    """One row.

    Attributes:
        name: of the row in the grid.
        method: of its cells.
        labels: their label protocol.
        published: where its figures are printed; None where they were measured here.
        is_baseline: whether its networks learn from all images.
        cells: one a column; None where the grid has no such cell.
    """

    name: str
    method: str
    labels: str
    published: str | None
    cells: tuple[TableCell | None, ...]
    is_baseline: bool = False

    def range_of(self, cost: str) -> tuple[float, float] | None:
        """Least and most of `stored_bytes`, `distill_seconds` or `peak_memory_bytes` over cells; None where unknown."""
        values = [value for cell in self.cells if cell and (value := getattr(cell, cost)) is not None]
        return (min(values), max(values)) if values else None


@dataclass(frozen=True)
class Table:
    """Figures of one score.

    Attributes:
        score: one of `SCORES`.
        architecture: of the students.
        columns: values of what varies.
        rows: those of one label protocol side by side.
        elsewhere: rows without students of this network, and the networks of theirs.
    """

    score: str
    architecture: str
    columns: tuple[Mapping[str, Any], ...]
    rows: tuple[TableRow, ...]
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """'accuracy in percent, convnet3'."""
        return f"{SCORE_TITLES[self.score]}, {self.architecture}"

    def column_title(self, column: Mapping[str, Any]) -> str:
        """'IF 100, IPC 10'; 'all' where nothing varies."""
        return in_short(column) or "all"

    def parts(self, most_columns: int) -> list[tuple[str, Table]]:
        """Narrower tables side by side, one for each value of what varies first, with their titles.

        Rows that have no cell in a part are left out of it; the table itself, untitled, where it is narrow enough.
        """
        if len(self.columns) <= most_columns or len(self.columns[0]) < 2:
            return [("", self)]
        first = next(iter(self.columns[0]))
        found = []
        for value in dict.fromkeys(column[first] for column in self.columns):
            places = [place for place, column in enumerate(self.columns) if column[first] == value]
            rest = tuple({name: own for name, own in self.columns[at].items() if name != first} for at in places)
            rows = tuple(replace(row, cells=tuple(row.cells[place] for place in places)) for row in self.rows)
            whole = replace(self, columns=rest, rows=tuple(row for row in rows if any(row.cells)))
            own = self.column_title({first: value})
            found += [(f"{own}, {title}" if title else own, part) for title, part in whole.parts(most_columns)]
        return found


def build_table(
    grid: Grid,
    plan: Plan,
    known: Mapping[str, CellResult],
    *,
    score: str = "accuracy",
    architecture: str | None = None,
) -> Table:
    """The table of a grid as far as it is finished.

    Args:
        known: results by key.
        score: which figure; one of `SCORES`.
        architecture: of which students; the first that the grid names when omitted.

    Raises:
        DistailError: there is no such score, or no cell has students of this network.
    """
    if score not in SCORES:
        raise DistailError(f"There is no score '{score}'. {did_you_mean(score, SCORES)}")
    networks = list(dict.fromkeys(name for place in plan.expansion.places for name in place.cell.architectures))
    architecture = architecture or networks[0]
    if architecture not in networks:
        raise DistailError(f"No cell trains students of '{architecture}'. {did_you_mean(architecture, networks)}")
    columns = tuple(combinations(grid.vary))
    by_place: dict[tuple[str, str], dict[int, list[tuple[Place, CellResult | None]]]] = {}
    elsewhere: dict[str, tuple[str, ...]] = {}
    index = {frozen(column): number for number, column in enumerate(columns)}
    for place, key in zip(plan.expansion.places, plan.keys, strict=True):
        if architecture in place.cell.architectures:
            row = by_place.setdefault((place.row, _asked_protocol(place)), {})
            row.setdefault(index[frozen(place.values)], []).append((place, known.get(key)))
        else:
            elsewhere[place.row] = place.cell.architectures
    rows = [
        _row(name, labels, [found.get(number, []) for number in range(len(columns))], score, architecture)
        for (name, labels), found in by_place.items()
    ]
    if score == "accuracy":
        rows += _published(grid, plan, columns, rows, architecture)
    rows.sort(key=lambda row: (("hard", "static", "teacher").index(row.labels), row.published is not None))
    for one in rows:
        elsewhere.pop(one.name, None)
    return Table(score, architecture, columns, tuple(_marked(rows, score)), elsewhere)


def _asked_protocol(place: Place) -> str:
    """The label protocol that a cell will have: 'static' becomes 'hard' for a set without soft labels."""
    soft = place.cell.baseline is None and find_method(place.cell.method).stores_soft_labels
    return asked if (asked := place.cell.evaluation.labels) == "teacher" or soft else "hard"


def _row(
    name: str,
    asked: str,
    places: Sequence[list[tuple[Place, CellResult | None]]],
    score: str,
    architecture: str,
) -> TableRow:
    results = {result.key: result for column in places for _, result in column if result}.values()
    first = next(place for column in places for place, _ in column)
    return TableRow(
        name=name,
        method=first.cell.method,
        labels=next((result.labels for result in results if result.students), asked),
        published=None,
        cells=tuple(_cell(column, score, architecture) if column else None for column in places),
        is_baseline=first.cell.kind == "baseline",
    )


def _training_seconds(result: CellResult) -> float | None:
    """What a baseline takes instead of distilling: training its network, the mean over seeds."""
    return _mean(student.train_seconds for student in result.students)


def _cell(places: Sequence[tuple[Place, CellResult | None]], score: str, architecture: str) -> TableCell:
    results = {result.key: result for _, result in places if result}
    done = [result for result in results.values() if result.status == "done"]
    values = [
        student.scores[score]
        for result in results.values()
        for student in result.students
        if student.architecture == architecture and student.subject == result.subject and score in student.scores
    ]
    return TableCell(
        summary=summarise(values) if values else None,
        sets=len(done),
        missing=sum(result is None for _, result in places),
        failed=sum(result.status == "failed" for result in results.values()),
        stored_bytes=_mean(result.stored_bytes for result in done),
        distill_seconds=_mean(
            result.distill_seconds if result.kind == "set" else _training_seconds(result) for result in done
        ),
        peak_memory_bytes=_mean(result.peak_memory_bytes for result in done),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _published(
    grid: Grid,
    plan: Plan,
    columns: Sequence[Mapping[str, Any]],
    measured: Sequence[TableRow],
    architecture: str,
) -> list[TableRow]:
    """Rows of numbers that papers report for the grid's methods, where the catalog knows any.

    That a method's sets store no soft labels shows when one is made; its published row is then one of hard labels.
    """
    hard = {row.method for row in measured if row.labels == "hard"}
    if grid.published is None:
        return []
    methods = dict.fromkeys(place.cell.method for place in plan.expansion.places if place.cell.kind == "set")
    rows = []
    for method in methods:
        found = [_published_cell(method, grid, column, architecture) for column in columns]
        if any(cell for _, cell in found):
            source = "; ".join(dict.fromkeys(source for source, cell in found if cell))
            protocol = _catalog_protocol(method, grid)
            if protocol == "static" and method in hard:
                protocol = "hard"
            rows.append(TableRow(method, method, protocol, source, tuple(cell for _, cell in found)))
    return rows


def _published_cell(
    method: str, grid: Grid, column: Mapping[str, Any], architecture: str
) -> tuple[str, TableCell | None]:
    whole = _fixed(grid) | dict(column)
    name = f"{method}-{grid.published}-if{shown(whole[IMBALANCE])}-ipc{shown(whole[IPC])}"
    if name not in recipe_names() or (published := built_in(name).published) is None:
        return "", None
    if architecture not in (built_in(name).recipe.evaluation or EvaluationRecipe()).architectures:
        return "", None  # the printed number is of another network
    # Papers seldom say over how many students; 0 stands for that.
    return published.source, TableCell(Summary(0, published.accuracy / 100, (published.std or 0) / 100))


def _catalog_protocol(method: str, grid: Grid) -> str:
    """The label protocol that the catalog's recipes of a method ask for."""
    name = next(name for name in recipe_names() if name.startswith(f"{method}-{grid.published}-"))
    evaluation = built_in(name).recipe.evaluation
    return evaluation.labels if evaluation else "hard"


def _fixed(grid: Grid) -> dict[str, Any]:
    """Imbalance and IPC where the base says them and they do not vary."""
    return {IMBALANCE: grid.base.get("data", {}).get("imbalance"), IPC: grid.base.get("images_per_class", 10)}


def _marked(rows: Sequence[TableRow], score: str) -> list[TableRow]:
    """The rows, with best and second best above zero of each column among those measured by one label protocol.

    Baselines learn from all images: they are marked where no set is. A second best that more than two share is none.
    """
    if score in SMALLER_IS_BETTER:
        return list(rows)
    marked = [list(row.cells) for row in rows]
    for labels in dict.fromkeys(row.labels for row in rows):
        own = [number for number, row in enumerate(rows) if row.labels == labels and not row.published]
        own = [number for number in own if not rows[number].is_baseline] or own
        for column in range(len(marked[0]) if marked else 0):
            means = {at: cell.summary.mean for at in own if (cell := rows[at].cells[column]) and cell.summary}
            ranked = sorted(set(means.values()) - {0.0}, reverse=True)
            seconds = [mean for mean in ranked[1:2] if list(means.values()).count(mean) <= 2]
            marks: dict[float, Mark] = dict(zip(ranked[:1] + seconds, ("best", "second"), strict=False))
            for number, mean in means.items():
                if (cell := marked[number][column]) and len(means) > 1:
                    marked[number][column] = replace(cell, mark=marks.get(mean, ""))
    return [replace(row, cells=tuple(cells)) for row, cells in zip(rows, marked, strict=True)]


def frozen(values: Mapping[str, Any]) -> str:
    """A name of values that vary, the same for the same values in any order, whatever they are."""
    return repr(sorted(values.items()))
