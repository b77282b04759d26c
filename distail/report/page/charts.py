"""Where the marks of a chart stand. The templates draw them, so that no text of a user meets HTML here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from distail.evaluation.metrics import CalibrationBin

WIDTH, HEIGHT = 360, 220
"""Size of a chart in its own units, which are pixels where it fills a phone."""

MAX_POINTS = 240
"""Points of a curve; of more, neighbours are drawn as their mean."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 30
_TABLE_ROWS = 12
_LOG_FROM = 50
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place in the chart's units, and its label."""

    place: float
    label: str


@dataclass(frozen=True)
class LineChart:
    """A curve.

    Attributes:
        title: what is drawn.
        description: what a reader who does not see it should know.
        path: of the curve, as in SVG.
        x, y: marks on the axes.
        rows: (step, value) of some points, for a table.
        note: what was done to the points; may be empty.
    """

    title: str
    description: str
    path: str
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    rows: tuple[tuple[int, str], ...]
    note: str


@dataclass(frozen=True)
class Column:
    """One bin of a reliability diagram, drawn from the bottom of the chart.

    Attributes:
        left, width: in the chart's units.
        top, height: of the accuracy.
        expected: where the mean confidence stands, from the top.
        weight: share of all predictions, 0 to 1.
        bin: the figures.
    """

    left: float
    width: float
    top: float
    height: float
    expected: float
    weight: float
    bin: CalibrationBin


@dataclass(frozen=True)
class Reliability:
    """How often predictions of a certain confidence are right.

    Attributes:
        description: what a reader who does not see it should know.
        columns: of the bins that hold predictions.
        ticks: marks of both axes, as fractions of one, with the label in percent.
        bins: all of them, for a table.
    """

    description: str
    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]
    bins: tuple[CalibrationBin, ...]


def line_chart(title: str, steps: Sequence[int], values: Sequence[float | None]) -> LineChart | None:
    """A curve over steps; None where there are fewer than two finite values."""
    known = [(s, v) for s, v in zip(steps, values, strict=True) if v is not None and math.isfinite(v)]
    if len(known) < 2:
        return None
    points = _thinned(known)
    low, high = min(v for _, v in points), max(v for _, v in points)
    logarithmic = low > 0 and high / low >= _LOG_FROM
    ticks = _log_ticks(low, high) if logarithmic else even_ticks(low, high)
    scale = math.log10 if logarithmic else float
    bottom, top = min(scale(low), scale(ticks[0])), max(scale(high), scale(ticks[-1]))
    first, last = points[0][0], points[-1][0]
    across = [(_LEFT + (WIDTH - _LEFT - _RIGHT) * (s - first) / max(last - first, 1)) for s, _ in points]
    up = lambda value: _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - (scale(value) - bottom) / ((top - bottom) or 1))  # noqa: E731
    path = "M" + "L".join(f"{x:.1f} {up(v):.1f}" for x, (_, v) in zip(across, points, strict=True))
    every = len(known) / len(points)
    notes = [f"each point the mean of {every:.0f} steps"] if every > 1.5 else []
    notes += ["logarithmic axis"] if logarithmic else []
    middle = (first + last) // 2
    return LineChart(
        title=title,
        description=f"{title}: {_figure(known[0][1])} at step {known[0][0]:,}, {_figure(known[-1][1])} at step "
        f"{known[-1][0]:,}; lowest {_figure(min(v for _, v in known))}, highest {_figure(max(v for _, v in known))}.",
        path=path,
        x=tuple(
            Tick(_LEFT + (WIDTH - _LEFT - _RIGHT) * (s - first) / max(last - first, 1), f"{s:,}")
            for s in dict.fromkeys((first, middle, last))
        ),
        y=tuple(Tick(up(value), _figure(value)) for value in ticks),
        rows=tuple((s, _figure(v)) for s, v in _some(known, _TABLE_ROWS)),
        note=", ".join(notes),
    )


def reliability(bins_of_students: Sequence[tuple[CalibrationBin, ...]], ece: str) -> Reliability | None:
    """The bins of several networks as one diagram, each prediction counting alike; None where none are known.

    Args:
        bins_of_students: of each network that was tested.
        ece: their calibration error, in words.
    """
    if not bins_of_students:
        return None
    bins = tuple(_pooled(one) for one in zip(*bins_of_students, strict=True))
    total = sum(one.count for one in bins)
    columns = []
    for place, one in enumerate(bins):
        if one.accuracy is None or one.confidence is None:
            continue
        width = 1 / len(bins)
        columns.append(
            Column(place * width, width, 1 - one.accuracy, one.accuracy, 1 - one.confidence, one.count / total, one)
        )
    sure = sum(one.count * ((one.confidence or 0) - (one.accuracy or 0)) for one in bins) / total
    leaning = "more confident than right" if sure > 0 else "less confident than right"
    return Reliability(
        description=f"Expected calibration error {ece}; on the whole the networks are {leaning}, by "
        f"{100 * abs(sure):.1f} points.",
        columns=tuple(columns),
        ticks=tuple(Tick(value / 4, f"{25 * value}") for value in range(5)),
        bins=bins,
    )


def _pooled(bins: Sequence[CalibrationBin]) -> CalibrationBin:
    count = sum(one.count for one in bins)
    if not count:
        return CalibrationBin(0, None, None)
    confidence = sum(one.count * (one.confidence or 0.0) for one in bins) / count
    return CalibrationBin(count, confidence, sum(one.count * (one.accuracy or 0.0) for one in bins) / count)


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `MAX_POINTS`, each the mean of neighbours and standing at the last of them; the first stays as it is."""
    if len(points) <= MAX_POINTS:
        return list(points)
    edges = [1 + number * (len(points) - 1) // (MAX_POINTS - 1) for number in range(MAX_POINTS)]
    groups = [points[begin:end] for begin, end in pairwise(edges)]
    return [points[0], *((group[-1][0], sum(v for _, v in group) / len(group)) for group in groups)]


def _some(points: Sequence[tuple[int, float]], count: int) -> list[tuple[int, float]]:
    """Some of the points, the first and the last among them."""
    if len(points) <= count:
        return list(points)
    return [points[round(number * (len(points) - 1) / (count - 1))] for number in range(count)]


def even_ticks(low: float, high: float) -> list[float]:
    """Round numbers around the range, about four."""
    room = (high - low) or abs(high) or 1.0
    unit = 10 ** math.floor(math.log10(room / 3))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if room / (unit * factor) <= 4)
    first = math.floor(low / step)
    return [step * number for number in range(first, math.ceil(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, (last - first) // 5)
    return [10.0**power for power in range(first, last + 1, every)]


def _figure(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 and abs(value) < 1e6 else f"{value:.3g}"
