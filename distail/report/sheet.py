"""`Sheet`: a white page measured in pixels, on which pictures stay exact and texts literal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from distail.artifact import atomic_path

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

Pixels = int | float

INK = "#1f2933"
MUTED = "#6b7785"

_DPI = 64
"""A power of two, so that a page of w pixels is exactly w / 64 inches and comes out w pixels wide."""

_FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Arial Unicode MS",
)


class Sheet:
    """A white page of `width` x `height` pixels; positions count from the top left.

    Uses matplotlib's objects without pyplot, and changes nothing global.
    """

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)

    def image(self, left: int, top: int, pixels: UInt8[np.ndarray, "h w 3"]) -> None:
        """Places an RGB picture unscaled: every value arrives unchanged."""
        self._figure.figimage(pixels, left, self.height - top - len(pixels), origin="upper")

    def box(self, left: Pixels, top: Pixels, width: Pixels, height: Pixels, colour: str) -> None:
        """Fills a rectangle."""
        from matplotlib.patches import Rectangle

        bottom = self.height - top - height
        self._figure.add_artist(Rectangle((left, bottom), width, height, facecolor=colour, linewidth=0, transform=None))

    def text(
        self,
        x: Pixels,
        middle: Pixels,
        text: str,
        *,
        size: int = 14,
        align: Literal["left", "right"] = "left",
        colour: str = INK,
        bold: bool = False,
    ) -> None:
        """Writes one line, literally, centred vertically on `middle`; `size` in pixels."""
        self._figure.text(
            x / self.width,
            1 - middle / self.height,
            text,
            color=colour,
            fontproperties=font(size, bold),
            ha=align,
            va="center_baseline",
            parse_math=False,
            usetex=False,
        )

    def save(self, path: Path) -> None:
        """Writes a PNG of the page, atomically."""
        save_canvas(self._canvas, path)


def save_canvas(canvas: FigureCanvasAgg, path: Path) -> None:
    """Writes a PNG of what a matplotlib canvas shows, atomically."""
    with missing_glyphs_allowed():
        canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3]
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(picture)).save(temporary, format="PNG", optimize=True)


def text_width(text: str, size: int = 14) -> float:
    """Width of one line in pixels, as `Sheet.text` writes it."""
    from matplotlib.backends.backend_agg import RendererAgg

    with missing_glyphs_allowed():
        width, _, _ = RendererAgg(1, 1, _DPI).get_text_width_height_descent(text, font(size, False), ismath=False)
    return float(width)


def shortened(text: str, room: int, size: int = 14) -> str:
    """The text, or as much of its beginning as fits into `room` pixels, with an ellipsis."""
    # No glyph that can be read is narrower than 1/8 of the size: nothing longer need be measured.
    text = text[: 1 + 8 * room // size]
    if text_width(text, size) <= room:
        return text
    fits, fails = 0, len(text)
    while fails - fits > 1:
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if text_width(text[:middle] + "…", size) <= room else (fits, middle)
    return text[:fits].rstrip() + "…"


def font(size: int, bold: bool = False) -> Any:
    """matplotlib's font of this size in pixels of a `Sheet`, with a fallback for each script that is installed."""
    from matplotlib.font_manager import FontProperties, fontManager

    installed = {font.name for font in fontManager.ttflist}
    families = ["DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed)]
    return FontProperties(family=families, size=size * 72 / _DPI, weight="bold" if bold else "normal")


def missing_glyphs_allowed() -> Any:
    """A character that no font has is drawn as a box; a warning a letter would help nobody."""
    import warnings

    return warnings.catch_warnings(action="ignore", category=UserWarning)
