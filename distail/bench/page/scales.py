"""Axes of charts: from values to places, and the marks along them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from distail.progress import format_seconds
from distail.report.page.charts import HEIGHT, Tick, even_ticks

LEFT, RIGHT = 40, 14
"""Room beside the drawing, in the chart's units."""
TOP, BOTTOM = 12, 30
"""Room above and below."""

_TIMES: dict[float, str] = {
    **{0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min"},
    **{3600: "1 h", 36_000: "10 h", 360_000: "100 h", 3_600_000: "1,000 h"},
}
"""Seconds at which an axis of time may be marked, in words."""


def times(least: float, most: float) -> dict[float, str]:
    """Marks of an axis of time; its ends where round times are too few."""
    found = {value: words for value, words in _TIMES.items() if least <= value <= most}
    return found if len(found) > 1 else {value: format_seconds(value) for value in (1.5 * least, most / 1.5)}


class Scale:
    """From values to places on an axis."""

    def __init__(self, low: float, high: float, first: float, last: float, *, logarithmic: bool) -> None:
        self._of = math.log10 if logarithmic else float
        self._low, self._room = self._of(low), (self._of(high) - self._of(low)) or 1.0
        self._first, self._length = first, last - first

    def __call__(self, value: float) -> float:
        """The place of a value."""
        return self._first + self._length * (self._of(value) - self._low) / self._room


def upright(spans: Sequence[tuple[float, float]]) -> tuple[Scale, tuple[Tick, ...]]:
    """The axis of accuracies, which are fractions of one."""
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    values = even_ticks(100 * low, 100 * high)
    up = Scale(values[0] / 100, values[-1] / 100, HEIGHT - BOTTOM, TOP, logarithmic=False)
    return up, tuple(Tick(up(value / 100), f"{value:g}") for value in values)
