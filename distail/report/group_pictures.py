"""Pictures of groups of classes: features on a plane, and the matrix of distances.

Colours are those of Okabe and Ito, told apart by colour-blind readers too, and three more for up to ten classes; of
more classes the shape of the marks changes. Legends stand outside, names are drawn literally.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distail.groups.finding import FoundGroups
from distail.groups.grouping import Grouping
from distail.groups.projection import Projection
from distail.groups.stability import adjusted_rand_index, matched_groups
from distail.report.names import one_line
from distail.report.sheet import INK, MUTED, font, save_canvas, shortened, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#4D4D4D"),
    *("#9C7A00", "#7A3FA0", "#A6C64C"),
)
MARKERS = ("o", "^", "s", "D", "v", "P", "X")

MAX_MARKED_CLASSES = 21
"""Classes up to which each has a mark of its own; of more, only groups are shown on the plane."""

MAX_NAMED_CLASSES = 60
"""Classes up to which rows and columns of the matrix bear names."""

_MARGIN = 20
_LINE = 22
_TITLE = 34
_PANEL = 420
_NAME_ROOM = 150
_UNITS_PER_INCH = 64
_PIXELS_PER_UNIT = 2


@dataclass(frozen=True)
class Shown:
    """One data set's features on a plane.

    Attributes:
        name: of the data.
        projection: of the features.
        grouping: found from them.
        seed: of the network that they come from.
    """

    name: str
    projection: Projection
    grouping: Grouping
    seed: int = 0


class _Page:
    """A white page of matplotlib axes, placed from the top left in the units of `Sheet`."""

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        size = (width / _UNITS_PER_INCH, height / _UNITS_PER_INCH)
        self._figure = Figure(figsize=size, dpi=_UNITS_PER_INCH * _PIXELS_PER_UNIT, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)

    def panel(self, left: int, top: int, width: int, height: int) -> Axes:
        place = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self._figure.add_axes(place)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color("#C3CAD2")
        return axes

    def text(self, left: int, middle: int, text: str, *, size: int = 14, bold: bool = False, colour: str = INK) -> None:
        self._figure.text(
            left / self.width,
            1 - middle / self.height,
            text,
            color=colour,
            fontproperties=font(size, bold),
            va="center_baseline",
            parse_math=False,
        )

    def legend(self, left: int, top: int, entries: Sequence[tuple[str, str, str]]) -> None:
        """Marks and names, one below the other, from (name, colour, marker) of each."""
        from matplotlib.lines import Line2D

        for row, (name, colour, marker) in enumerate(entries):
            middle = top + _LINE * row + _LINE // 2
            x, y = (left + 8) / self.width, 1 - middle / self.height
            mark = Line2D([x], [y], color=colour, marker=marker, markersize=8, linestyle="", markeredgewidth=0)
            self._figure.add_artist(mark)
            self.text(left + 22, middle, shortened(name, _NAME_ROOM))

    def colour_bar(self, picture: Any, left: int, top: int, width: int, height: int) -> None:
        axes = self.panel(left, top, width, height)
        bar = self._figure.colorbar(picture, cax=axes)
        bar.outline.set_visible(False)
        for label in axes.get_yticklabels():
            label.set_fontproperties(font(12))

    def save(self, path: Path) -> None:
        save_canvas(self._canvas, path)


def features_picture(shown: Shown, path: Path) -> None:
    """Writes a PNG of the plane: coloured by class with the centroids, and coloured by group."""
    comparison_picture([shown], path)


def comparison_picture(shown: Sequence[Shown], path: Path) -> None:
    """Writes a PNG with a column for each data set: its plane coloured by class above, by group below.

    Groups of later columns take the colours of the first one's that they share most classes with. A plane has no axes:
    only who is near whom can be compared between columns.

    Raises:
        ValueError: nothing to show.
    """
    first = shown[0].grouping
    by_class = len(first.class_names) <= MAX_MARKED_CLASSES
    rows = ("class", "group") if by_class else ("group",)
    side = _PANEL if len(shown) < 3 else 340
    gap, top = 16, _MARGIN + _TITLE
    legend_width = 22 + _legend_width(first, by_class)
    across = len(shown) == 1
    columns = len(rows) if across else len(shown)
    block = side + gap + legend_width if across else 0
    width = columns * block + 2 * _MARGIN if across else 2 * _MARGIN + columns * (side + gap) + legend_width
    height = top + (side + _TITLE) * (1 if across else len(rows)) + _LINE + 8 + _MARGIN
    foot = _foot(shown, by_class)
    page = _Page(max(width, int(text_width(foot, 12)) + 2 * _MARGIN), height)
    for place, one in enumerate(shown):
        colour_of = _matched(first, one.grouping)
        room = width - 2 * _MARGIN if across else side
        page.text(_MARGIN + place * (side + gap), _MARGIN + _TITLE // 2, _fit(one.name, room), size=17, bold=True)
        for row, kind in enumerate(rows):
            left = _MARGIN + (row * block if across else place * (side + gap))
            above = top + (0 if across else row * (side + _TITLE))
            page.text(left, above + _TITLE // 2, _panel_title(kind, one, first, place), colour=MUTED)
            panel = page.panel(left, above + _TITLE, side, side)
            _draw_plane(panel, one, kind, colour_of)
            if across or place == len(shown) - 1:
                page.legend(left + side + gap, above + _TITLE, _legend(kind, shown, first))
    page.text(_MARGIN, height - _MARGIN - _LINE // 2, foot, size=12, colour=MUTED)
    page.save(path)


def distances_picture(found: FoundGroups, path: Path) -> None:
    """Writes a PNG of the matrix of distances, classes ordered by group, white lines between groups."""
    grouping = found.grouping
    order = [label for group in range(grouping.num_groups) for label in grouping.members(group)]
    names = [shortened(one_line(grouping.class_names[label]), _NAME_ROOM) for label in order]
    named = len(order) <= MAX_NAMED_CLASSES
    cell = max(640 // len(order), 14 if named else 1)
    side = max(cell * len(order), 360)
    room = int(max(text_width(name, 12) for name in names)) + 16 if named else 0
    left, top = _MARGIN + room, _MARGIN + _TITLE + 12
    page = _Page(left + side + 110 + _MARGIN, top + side + room + _MARGIN)
    page.text(
        _MARGIN,
        _MARGIN + _TITLE // 2 - 6,
        "Distances between classes, by group",
        size=17,
        bold=True,
    )
    axes = page.panel(left, top, side, side)
    matrix = found.distances.numpy()[np.ix_(order, order)].copy()
    np.fill_diagonal(matrix, np.nan)
    axes.set_facecolor("#E3E7EB")
    picture = axes.imshow(matrix, cmap="viridis", interpolation="nearest", aspect="auto")
    _mark_groups(axes, grouping)
    if named:
        for axis, texts in ((axes.xaxis, axes.get_xticklabels), (axes.yaxis, axes.get_yticklabels)):
            axis.set_ticks(range(len(order)), names)
            axis.set_tick_params(length=0)
            for text in texts():
                text.set_fontproperties(font(12))
                text.set_parse_math(False)
        if room - 16 > cell:  # short names stand upright
            axes.set_xticklabels(axes.get_xticklabels(), rotation=90)
    page.colour_bar(picture, left + side + 48, top, 16, side)
    page.text(left + side + 40, top - 14, "distance", size=12, colour=MUTED)
    page.save(path)


def _mark_groups(axes: Axes, grouping: Grouping) -> None:
    """Lines between groups, and their numbers on the right."""
    begin = 0
    for group in range(grouping.num_groups):
        size = len(grouping.members(group))
        if begin:
            axes.axhline(begin - 0.5, color="white", linewidth=2)
            axes.axvline(begin - 0.5, color="white", linewidth=2)
        count = len(grouping.class_names)
        place, words = count - 0.5 + count * 0.015, size >= count * 0.12
        axes.text(
            place,
            begin + (size - 1) / 2,
            f"group {group + 1}" if words else str(group + 1),
            fontproperties=font(14, True),
            rotation=270 if words else 0,
            va="center",
            color=INK,
        )
        begin += size


def _draw_plane(axes: Axes, shown: Shown, kind: str, colour_of: Callable[[int], str]) -> None:
    """Images as small marks, and above them the centroids as large ones with an edge."""
    plane, groups = shown.projection, shown.grouping.group_of
    size = 14 if len(plane.points) <= 1000 else 7
    for label in range(len(groups)):
        colour, marker = _class_mark(label) if kind == "class" else (colour_of(groups[label]), "o")
        own = (plane.labels == label).numpy()
        x, y = plane.points[own].T
        axes.scatter(x, y, s=size, color=colour, marker=marker, linewidths=0, alpha=0.65)
    for label in range(len(groups)):
        colour, marker = _class_mark(label) if kind == "class" else (colour_of(groups[label]), "o")
        own = (plane.centre_labels == label).numpy()
        x, y = plane.centres[own].T
        large, edge = (60, 1.2) if len(groups) <= MAX_MARKED_CLASSES else (18, 0.6)
        axes.scatter(x, y, s=large, color=colour, marker=marker, edgecolors="black", linewidths=edge)
    axes.margins(0.04)


def _class_mark(label: int) -> tuple[str, str]:
    return COLOURS[label % len(COLOURS)], MARKERS[label // len(COLOURS) % len(MARKERS)]


def _legend(kind: str, shown: Sequence[Shown], first: Grouping) -> list[tuple[str, str, str]]:
    if kind == "class":
        return [(one_line(name), *_class_mark(label)) for label, name in enumerate(first.class_names)]
    most = max(one.grouping.num_groups for one in shown)
    return [(f"group {group + 1}", _colour(group), "o") for group in range(min(most, MAX_MARKED_CLASSES))]


def _legend_width(first: Grouping, by_class: bool) -> int:
    names = [one_line(name) for name in first.class_names] if by_class else []
    return int(max(text_width(shortened(name, _NAME_ROOM)) for name in [*names, "group 10"])) + 8


def _panel_title(kind: str, one: Shown, first: Grouping, place: int) -> str:
    if kind == "class":
        return "by class"
    return f"by group, adjusted Rand index {adjusted_rand_index(first, one.grouping):.2f}" if place else "by group"


def _foot(shown: Sequence[Shown], by_class: bool) -> str:
    counts = sorted({len(one.projection.points) for one in shown})
    images = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    remark = "" if by_class else " There are too many classes to tell each apart."
    if len(shown) > 1:
        remark += " The adjusted Rand index compares with the first column: 1 the same groups, 0 chance."
    return f"t-SNE of {images} images by the network of seed {shown[0].seed}; marks with an edge are centroids.{remark}"


def _fit(name: str, room: int) -> str:
    return shortened(one_line(name), room, 17)


def _colour(group: int) -> str:
    return COLOURS[group % len(COLOURS)]


def _matched(first: Grouping, other: Grouping) -> Callable[[int], str]:
    """Colour of each group of `other`: that of the group of `first` that it shares most classes with."""
    place = matched_groups(first, other)
    return lambda group: _colour(place[group])
