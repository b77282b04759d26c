"""Charts of a grid: accuracy against what varies and against minutes. Where marks stand; templates draw them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distail.bench.cell import SHORT_NAMES, shown
from distail.bench.page.costs import Priced, priced_rows
from distail.bench.page.grid_facts import GridFacts
from distail.bench.page.scales import LEFT, RIGHT, Scale, times, upright
from distail.bench.table import Table, TableRow
from distail.errors import counted
from distail.evaluation.metrics import Summary
from distail.progress import format_seconds
from distail.report.names import one_line
from distail.report.page.charts import WIDTH, Tick
from distail.report.page.html import percent

STYLES = 8
"""Lines that can be told apart; of more rows, those with the best mean accuracy are drawn."""

MAX_PANELS = 12
"""Charts of one kind; what the others would show stands in the table."""

_ASIDE = 2.0
"""Between the points of two rows at the same value."""
_LOG_FROM = 4
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""


@dataclass(frozen=True)
class Mark:
    """A point, and the ends of its error bar, in the chart's units from the top left; what it is, in words."""

    x: float
    y: float
    high: float
    low: float
    words: str


@dataclass(frozen=True)
class Series:
    """The points of a row.

    Attributes:
        name: of the row.
        style: from 0 to `STYLES` - 1, or `STYLES` for all that are not told apart.
        path: of the line through them, as in SVG; may be empty.
        marks: the points.
    """

    name: str
    style: int
    path: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        title: what is held fixed.
        across: what varies from left to right.
        description: what a reader who does not see it should know.
        best: a line along the best for each budget, as in SVG; may be empty.
        series: the rows.
        x, y: marks on the axes.
        head, rows: the same as a table, with rows that are not drawn.
    """

    title: str
    across: str
    description: str
    best: str
    series: tuple[Series, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Kind:
    """Charts of one kind: a heading, at most `MAX_PANELS` of them, and how many others there would be."""

    title: str
    panels: tuple[Panel, ...]
    num_others: int


@dataclass(frozen=True)
class ProtocolCharts:
    """All charts of rows with one label protocol and one network; others are no equals.

    Attributes:
        title: 'Static labels', with the network where there are several.
        labels: the protocol.
        legend: (style, name of a row).
        num_others: rows that are not told apart.
        kinds: the charts.
    """

    title: str
    labels: str
    legend: tuple[tuple[int, str], ...]
    num_others: int
    kinds: tuple[Kind, ...]


def grid_charts(facts: GridFacts) -> tuple[ProtocolCharts, ...]:
    """Accuracy of every network against every number that varies, and against minutes."""
    tables = facts.accuracies
    found: list[ProtocolCharts] = []
    for table in tables:
        for labels in dict.fromkeys(row.labels for row in table.rows):
            rows = [row for row in table.rows if row.labels == labels and not row.published and _mean(row) is not None]
            if rows:
                title = f"{labels.capitalize()} labels" + (f", {table.architecture}" if len(tables) > 1 else "")
                found.append(_protocol_charts(facts, table, labels, rows, title))
    return tuple(one for one in found if one.kinds)


def _protocol_charts(
    facts: GridFacts, table: Table, labels: str, rows: Sequence[TableRow], title: str
) -> ProtocolCharts:
    best = sorted(rows, key=lambda row: -(_mean(row) or 0.0))[:STYLES]
    styles = {row.name: number for number, row in enumerate(row for row in rows if row in best)}
    drawn = [row for row in rows if row.name in styles]
    kinds = [_against(table, axis, rows, styles) for axis in _axes(table)]
    kinds.append(_against_time(facts, table, rows, styles))
    return ProtocolCharts(
        title=title,
        labels=labels,
        legend=tuple((style, name) for name, style in styles.items()),
        num_others=len(rows) - len(drawn),
        kinds=tuple(kind for kind in kinds if kind.panels),
    )


def _mean(row: TableRow) -> float | None:
    known = [cell.summary.mean for cell in row.cells if cell and cell.summary]
    return sum(known) / len(known) if known else None


def _axes(table: Table) -> list[str]:
    """What varies over at least two numbers."""
    names = table.columns[0] if table.columns else {}
    return [name for name in names if len({column[name] for column in table.columns if _number(column[name])}) > 1]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _against(table: Table, axis: str, rows: Sequence[TableRow], styles: Mapping[str, int]) -> Kind:
    """A chart for each combination of the other values."""
    groups: dict[str, list[int]] = {}
    for place, column in enumerate(table.columns):
        if _number(column[axis]):
            groups.setdefault(table.column_title(_others(column, axis)), []).append(place)
    panels = []
    for title, places in groups.items():
        panel = _panel(table, axis, title, sorted(places, key=lambda place: table.columns[place][axis]), rows, styles)
        panels += [panel] if panel else []
    name = SHORT_NAMES.get(axis, axis)
    told = {"IPC": "images per class (IPC)", "IF": "imbalance (IF)"}.get(name, name)
    return Kind(f"Accuracy against {told}", tuple(panels[:MAX_PANELS]), max(0, len(panels) - MAX_PANELS))


def _others(column: Mapping[str, Any], axis: str) -> dict[str, Any]:
    return {name: value for name, value in column.items() if name != axis}


def _panel(
    table: Table, axis: str, title: str, places: Sequence[int], rows: Sequence[TableRow], styles: Mapping[str, int]
) -> Panel | None:
    """Lines over some columns; None where no row has two points. Told of are all rows, drawn those with a style."""
    values = [float(table.columns[place][axis]) for place in places]
    all_points = {
        row.name: [
            (value, cell.summary)
            for value, place in zip(values, places, strict=True)
            if (cell := row.cells[place]) and cell.summary
        ]
        for row in rows
    }
    all_points = {name: found for name, found in all_points.items() if found}
    points = {name: found for name, found in all_points.items() if name in styles}
    if not any(len(found) > 1 for found in points.values()):
        return None
    logarithmic = min(values) > 0 and max(values) / min(values) >= _LOG_FROM
    across = Scale(min(values), max(values), LEFT + 14, WIDTH - RIGHT - 14, logarithmic=logarithmic)
    up, ticks = upright([(one.mean - one.std, one.mean + one.std) for found in points.values() for _, one in found])
    short = SHORT_NAMES.get(axis, axis)
    of_sets = _sets_first(rows, all_points)
    leads = "is best" if len(of_sets) == len(all_points) else "is the best set"
    series = []
    for number, (name, found) in enumerate(points.items()):
        aside = _ASIDE * (number - (len(points) - 1) / 2)  # so that error bars do not hide each other
        marks = [
            Mark(across(value) + aside, up(one.mean), up(one.mean + one.std), up(one.mean - one.std),
                 f"{one_line(name)}, {short} {shown(value)}: {percent(one)}, n = {one.n}")
            for value, one in found
        ]  # fmt: skip
        path = "M" + "L".join(f"{mark.x:.1f} {mark.y:.1f}" for mark in marks)
        series.append(Series(name, styles[name], path, tuple(marks)))
    return Panel(
        title="" if title == "all" else title,
        across=short + (", logarithmic" if logarithmic else ""),
        description=f"{_how_many(points, all_points)}; {_ends(of_sets, leads, short, values, styles)}.",
        best="",
        series=tuple(series),
        x=tuple(Tick(across(value), shown(value)) for value in values),
        y=ticks,
        head=("row", *(f"{short} {shown(value)}" for value in values)),
        rows=tuple((name, *(percent(dict(own).get(value)) for value in values)) for name, own in all_points.items()),
    )


def _how_many(drawn: Collection[str], known: Collection[str]) -> str:
    every = counted(len(known), "row")
    return every if len(drawn) == len(known) else f"{len(drawn)} of {every} are drawn"


def _sets_first(
    rows: Sequence[TableRow], points: Mapping[str, Sequence[tuple[float, Summary]]]
) -> Mapping[str, Sequence[tuple[float, Summary]]]:
    """The points of rows that may be called best: sets where there are any, as in the table."""
    baselines = {row.name for row in rows if row.is_baseline}
    return {name: found for name, found in points.items() if name not in baselines} or points


def _ends(
    points: Mapping[str, Sequence[tuple[float, Summary]]],
    leads: str,
    short: str,
    values: Sequence[float],
    drawn: Collection[str],
) -> str:
    """'at IPC 10 dm is best with 46.6 %, ...' at both ends."""
    told = []
    for value in (values[0], values[-1]):
        there = {name: one.mean for name, found in points.items() for where, one in found if where == value}
        if there:
            best = max(there, key=lambda name: there[name])
            how = leads if len(there) > 1 or leads != "is best" else "alone"
            where = "" if best in drawn else " (not drawn)"
            told.append(f"at {short} {shown(value)} {one_line(best)}{where} {how} with {100 * there[best]:.1f} %")
    return ", ".join(told)


def _against_time(facts: GridFacts, table: Table, rows: Sequence[TableRow], styles: Mapping[str, int]) -> Kind:
    """A chart for each column, with a line along the best for each budget."""
    panels = []
    for column in range(len(table.columns)):
        priced = priced_rows(facts, rows, column, table.architecture)
        panels += [_time_panel(table, column, priced, styles)] if len(priced) > 1 else []
    return Kind("Accuracy against time", tuple(panels[:MAX_PANELS]), max(0, len(panels) - MAX_PANELS))


def _time_panel(table: Table, column: int, priced: Sequence[Priced], styles: Mapping[str, int]) -> Panel:
    least, most = min(one.seconds for one in priced) / 1.5, max(one.seconds for one in priced) * 1.5
    across = Scale(least, most, LEFT, WIDTH - RIGHT, logarithmic=True)
    spread = [(one.score.mean - one.score.std, one.score.mean + one.score.std) for one in priced]
    up, ticks = upright(spread)
    series = []
    for one in priced:
        words = f"{one_line(one.row)}, {format_seconds(one.seconds)}: {percent(one.score)}, n = {one.score.n}"
        score = one.score
        mark = Mark(across(one.seconds), up(score.mean), up(score.mean + score.std), up(score.mean - score.std), words)
        series.append(Series(one.row, styles.get(one.row, STYLES), "", (mark,)))
    winners: list[Priced] = []
    for one in sorted(priced, key=lambda one: (one.seconds, -one.score.mean)):
        if not winners or one.score.mean > winners[-1].score.mean:
            winners.append(one)
    path = f"M{across(winners[0].seconds):.1f} {up(winners[0].score.mean):.1f}"
    path += "".join(f"H{across(one.seconds):.1f}V{up(one.score.mean):.1f}" for one in winners[1:])
    told = [f"from {format_seconds(one.seconds)} {one_line(one.row)} with {percent(one.score)}" for one in winners]
    title = table.column_title(table.columns[column])
    return Panel(
        title="" if title == "all" else title,
        across="time to a trained network, logarithmic",
        description=f"The best for a budget: {'; '.join(told)}.",
        best=f"{path}H{WIDTH - RIGHT}",
        series=tuple(series),
        x=tuple(Tick(across(value), words) for value, words in times(least, most).items()),
        y=ticks,
        head=("row", "time", "accuracy", "best for its budget"),
        rows=tuple(
            (one.row, format_seconds(one.seconds), percent(one.score), "yes" if one in winners else "no")
            for one in sorted(priced, key=lambda one: one.seconds)
        ),
    )
