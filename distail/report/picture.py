"""Pictures of distilled sets: the images class by class, and with them how well they train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.report.names import one_line
from distail.report.sheet import MUTED, Sheet, shortened, text_width

CELL = 64
"""Side in pixels at which an image is shown, at least: smaller ones are enlarged by the next whole factor."""

MAX_CELL = 160
"""Side in pixels above which images are reduced, so that a picture of many stays of handy size."""

_MARGIN = 24
_GAP = 4
_LABEL_ROOM = 190
_LABEL_SPACE = 12
_LINE = 26
_NOTE_SIZE = 12
_BAR_ROW = 36
_BAR = 20
_BAR_COLOURS = ("#2f6fb3", "#9aa7b4")
_MIN_CONTENT = 480


@dataclass(frozen=True)
class _Row:
    """One line of the grid: a class and the positions of its images, or a remark instead of images."""

    title: str
    images: tuple[int, ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class _Grid:
    """What stands where in the grid, and how large.

    Attributes:
        rows: from top to bottom.
        cells: (n, height, width, 3), all images of the set at the size they are shown.
        notes: what the reader has to know, below the grid.
    """

    rows: tuple[_Row, ...]
    cells: UInt8[np.ndarray, "n h w 3"]
    notes: tuple[str, ...]

    @property
    def columns(self) -> int:
        return max(len(row.images) for row in self.rows)

    @property
    def width(self) -> int:
        images = self.columns * (self.cells.shape[2] + _GAP) - _GAP
        sentences = (*self.notes, *(row.remark for row in self.rows))
        return max(images, *(int(text_width(sentence, _NOTE_SIZE)) for sentence in sentences))

    @property
    def height(self) -> int:
        return sum(self.row_height(row) + _GAP for row in self.rows) - _GAP + _LINE * len(self.notes)

    def row_height(self, row: _Row) -> int:
        return self.cells.shape[1] if row.images or not row.remark else _LINE


def image_grid(distilled: DistilledSet, path: Path, max_per_class: int = 10, max_classes: int = 20) -> None:
    """Writes a PNG with one row of images a class, as `to_pixels` gives them, enlarged without smoothing.

    Of more than `max_classes` classes, the first and the last half are shown. Images other than grayscale and
    RGB appear as the mean of their channels. What is left out is said in the picture.

    Raises:
        DistailError: a maximum below 1.
    """
    grid = _grid(distilled, max_per_class, max_classes)
    label_width = _label_width([row.title for row in grid.rows])
    left = _MARGIN + label_width
    sheet = Sheet(left + grid.width + _MARGIN, grid.height + 2 * _MARGIN)
    _draw_grid(sheet, grid, left, _MARGIN)
    sheet.save(path)


def demo_picture(distilled: DistilledSet, bars: Sequence[tuple[str, float, float]], path: Path) -> None:
    """Writes a PNG with test accuracies as bars, and below them the images that the first bar is about.

    Args:
        distilled: the set; its first 10 images of each class, and at most 20 classes, are shown.
        bars: (label, mean, standard deviation) from top to bottom, as fractions of one; shown in percent.
            The first stands out.
        path: of the PNG.

    Raises:
        DistailError: no bars, or a mean outside 0..1.
    """
    if not bars or not all(0 <= mean <= 1 for _, mean, _ in bars):
        raise DistailError("The picture needs at least one accuracy, each a fraction between 0 and 1.")
    grid = _grid(distilled, max_per_class=10, max_classes=20)
    left = _MARGIN + _label_width([*(row.title for row in grid.rows), *(one_line(label) for label, _, _ in bars)])
    content = max(grid.width, _MIN_CONTENT)
    bars_height = _LINE + 8 + _BAR_ROW * len(bars)
    height = 2 * _MARGIN + bars_height + _MARGIN + _LINE + 8 + grid.height
    sheet = Sheet(left + content + _MARGIN, height)
    sheet.text(left, _MARGIN + _LINE / 2, "Test accuracy after training on", size=17, bold=True)
    _draw_bars(sheet, bars, left, _MARGIN + _LINE + 8, content)
    top = _MARGIN + bars_height + _MARGIN
    sheet.text(left, top + _LINE / 2, f"The {len(distilled)} distilled images", size=17, bold=True)
    _draw_grid(sheet, grid, left, top + _LINE + 8)
    sheet.save(path)


def _draw_grid(sheet: Sheet, grid: _Grid, left: int, top: int) -> None:
    cell_width = grid.cells.shape[2]
    for row in grid.rows:
        height = grid.row_height(row)
        middle = top + height / 2
        sheet.text(left - _LABEL_SPACE, middle, shortened(row.title, _LABEL_ROOM), align="right")
        sheet.text(left, middle, row.remark, size=_NOTE_SIZE, colour=MUTED)
        for column, index in enumerate(row.images):
            sheet.image(left + column * (cell_width + _GAP), top, grid.cells[index])
        top += height + _GAP
    for note in grid.notes:
        sheet.text(left, top + _LINE / 2, note, size=_NOTE_SIZE, colour=MUTED)
        top += _LINE


def _draw_bars(sheet: Sheet, bars: Sequence[tuple[str, float, float]], left: int, top: int, width: int) -> None:
    values = [f"{100 * mean:.1f}%" + (f" ± {100 * std:.1f}" if std else "") for _, mean, std in bars]
    room = width - max(text_width(value) for value in values) - 3 * _LABEL_SPACE
    full = max(1.0, *(mean + std for _, mean, std in bars))  # 100% is the whole room, so bars do not exaggerate
    for row, ((label, mean, std), value) in enumerate(zip(bars, values, strict=True)):
        begin = top + row * _BAR_ROW
        middle = begin + _BAR_ROW / 2
        sheet.text(left - _LABEL_SPACE, middle, shortened(one_line(label), _LABEL_ROOM), align="right")
        length, spread = room * mean / full, room * std / full
        sheet.box(left, middle - _BAR / 2, length, _BAR, _BAR_COLOURS[0 if row == 0 else 1])
        if std:
            low = max(length - spread, 0)
            sheet.box(left + low, middle - 1, length + spread - low, 2, "black")
            for end in (low, length + spread):
                sheet.box(left + end - 1, middle - 5, 2, 10, "black")
        sheet.text(left + length + spread + _LABEL_SPACE, middle, value, bold=row == 0)


def _grid(distilled: DistilledSet, max_per_class: int, max_classes: int) -> _Grid:
    if max_per_class < 1 or max_classes < 1:
        raise DistailError("A picture needs at least one class and one image a class; raise the maximum to 1 or more.")
    first = (max_classes + 1) // 2
    shown = list(range(distilled.num_classes))
    if len(shown) > max_classes:
        shown = shown[:first] + shown[len(shown) - (max_classes - first) :]
    rows = []
    for label in shown:
        images = tuple(torch.nonzero(distilled.labels == label).flatten()[:max_per_class].tolist())
        rows.append(_Row(one_line(distilled.class_names[label]), images, "" if images else "no image"))
    if left_out := distilled.num_classes - len(shown):
        rows.insert(first, _Row("⋮", (), f"{left_out} more classes are not shown"))
    channels = distilled.image_shape[0]
    notes = []
    if max(distilled.class_counts) > max_per_class:
        notes.append(f"The first {max_per_class} of up to {max(distilled.class_counts)} images of each class.")
    if distilled.mosaic > 1:
        cells = f"{distilled.mosaic}x{distilled.mosaic}"
        notes.append(f"Each image is a mosaic of {cells} smaller ones, shown as it is stored.")
    if channels not in (1, 3):
        notes.append(f"Shown is the mean of {channels} channels.")
    return _Grid(tuple(rows), _cells(distilled.to_pixels().cpu()), tuple(notes))


def _cells(pixels: UInt8[Tensor, "n c h w"]) -> UInt8[np.ndarray, "n h2 w2 3"]:
    """The images as RGB, enlarged by a whole factor to `CELL` or reduced to `MAX_CELL` pixels."""
    if pixels.shape[1] != 3:
        grey = pixels if pixels.shape[1] == 1 else pixels.float().mean(1, keepdim=True).round().to(torch.uint8)
        pixels = grey.expand(-1, 3, -1, -1)
    longest = max(pixels.shape[2:])
    if longest > MAX_CELL:
        step = -(-longest // MAX_CELL)
        pixels = torch.nn.functional.avg_pool2d(pixels.float(), step).round().to(torch.uint8)
    factor = max(1, -(-CELL // longest))
    enlarged = pixels.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    return enlarged.permute(0, 2, 3, 1).contiguous().numpy()


def _label_width(titles: Sequence[str]) -> int:
    widest = max(text_width(shortened(title, _LABEL_ROOM)) for title in titles)
    return int(widest) + 1 + _LABEL_SPACE
