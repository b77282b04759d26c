"""Encoded images to one uint8 array, in parallel: the only place that knows about image formats."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image, ImageOps

from distail.errors import DifferentSizesError, DistailError
from distail.progress import Progress

BATCH_ROWS = 1024
"""Images handed to the thread pool at once; bounds how many encoded images are in memory."""

RUN_LENGTH = 32
"""Images one thread decodes before it reports back, so that tiny images do not drown in hand-overs."""

EXIF_ORIENTATION = 0x0112

Undecoded = bytes | Path | np.ndarray | None
"""An encoded image, a file that holds one, uint8 pixels (h, w, c), or nothing where the source has a gap."""


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """The readable images of a sequence.

    Attributes:
        pixels: (n, channels, height, width), uint8; 1 channel where every image is grayscale, else 3 (RGB).
        kept: (n,), the position of each image in the sequence, rising.
        failures: (position, reason) of each image that could not be read.
        sizes: count of each original (height, width).
    """

    pixels: UInt8[np.ndarray, "n c h w"]
    kept: Int64[np.ndarray, " n"]
    failures: tuple[tuple[int, str], ...]
    sizes: dict[tuple[int, int], int]


class _Outcome(NamedTuple):
    pixels: np.ndarray | None  # (c, h, w)
    size: tuple[int, int]
    reason: str


def decode_images(
    batches: Iterable[Sequence[Undecoded]],
    total: int,
    *,
    image_size: tuple[int, int] | None,
    origin: str,
    progress: Progress,
) -> DecodedImages:
    """Decodes `total` images that arrive in batches, keeping their order.

    Grayscale stays one channel only where all images are grayscale; otherwise everything becomes RGB.
    Palettes and CMYK are converted, alpha is dropped, 16-bit gray is scaled so that 65535 becomes 255, and
    the EXIF orientation is applied. `image_size` resizes each image to exactly that height and width (bicubic
    with antialiasing; the aspect ratio is not kept).

    Args:
        batches: encoded images, in order.
        total: how many images all batches hold together.
        image_size: (height, width), or None to keep the images' own size.
        origin: the source as the user named it, for messages.
        progress: shows how far decoding has come.

    Raises:
        DistailError: there are no images, none is readable, or sizes differ and `image_size` is None.
    """
    if total == 0:
        raise DistailError(f"{origin}: there are no images. Check the path and the file types inside it.")
    store = _PixelStore(total, origin)
    kept: list[int] = []
    failures: list[tuple[int, str]] = []
    sizes: Counter[tuple[int, int]] = Counter()
    position = 0
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor() as pool,
        progress.task("Reading images", total) as advance,
    ):
        # Its remarks are about headers of images that can be read all the same.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for batch in batches:
            for outcome in _decode_batch(pool, batch, image_size):
                if outcome.pixels is None:
                    failures.append((position, outcome.reason))
                else:
                    store.append(outcome.pixels)
                    kept.append(position)
                    sizes[outcome.size] += 1
                position += 1
            advance(len(batch))
    _require_any(len(kept), failures, origin)
    return DecodedImages(store.pixels, np.asarray(kept, dtype=np.int64), tuple(failures), dict(sizes))


def _require_any(num_kept: int, failures: Sequence[tuple[int, str]], origin: str) -> None:
    if num_kept == 0:
        raise DistailError(
            f"{origin}: none of the {len(failures)} images can be read; the first: {failures[0][1]}. "
            "Check that the files are complete image files."
        )


def in_batches(items: Sequence[Undecoded] | np.ndarray, length: int = BATCH_ROWS) -> Iterator[Sequence[Undecoded]]:
    """Cuts a sequence into consecutive pieces of `length`; the last may be shorter."""
    for begin in range(0, len(items), length):
        yield list(items[begin : begin + length])


def _decode_batch(
    pool: ThreadPoolExecutor, batch: Sequence[Undecoded], image_size: tuple[int, int] | None
) -> Iterator[_Outcome]:
    runs = (batch[begin : begin + RUN_LENGTH] for begin in range(0, len(batch), RUN_LENGTH))
    for outcomes in pool.map(lambda run: [_decode_one(item, image_size) for item in run], runs):
        yield from outcomes


def _decode_one(item: Undecoded, image_size: tuple[int, int] | None) -> _Outcome:
    if item is None:
        return _Outcome(None, (0, 0), "no image is stored there")
    try:
        image = _image_from_pixels(item) if isinstance(item, np.ndarray) else decode_image(item)
        size = (image.height, image.width)
        if image_size is not None and size != image_size:
            image = image.resize((image_size[1], image_size[0]), Image.Resampling.BICUBIC)
        pixels = np.asarray(image)
    except Exception as error:  # damaged files make Pillow's plugins raise almost anything
        return _Outcome(None, (0, 0), _reason(error))
    # (h, w) -> (1, h, w); (h, w, 3) -> (3, h, w)
    return _Outcome(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), size, "")


def decode_image(item: bytes | Path) -> Image.Image:
    """One image in mode 'L' (grayscale) or 'RGB', upright.

    Raises:
        Exception: whatever Pillow raises for a file that it cannot decode to the end.
        ValueError: pixels that have no scale to 0..255 (floating point, or integers beyond 16 bits).
    """
    with Image.open(io.BytesIO(item) if isinstance(item, bytes) else item) as opened:
        opened.load()
        image = _upright(opened)
        if image.mode in ("L", "RGB"):
            return image
        return _gray_or_rgb(image)


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return image
    return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image


def _gray_or_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("1", "LA", "La"):
        return image.convert("LA").convert("L") if image.mode == "La" else image.convert("L")
    if image.mode.startswith("I"):
        return _from_deep_gray(image)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers without a known scale; save it with 8 or 16 bits")
    if image.mode in ("P", "PA"):
        # Straight to RGB, Pillow warns about palettes whose transparency is a list.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _from_deep_gray(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels lie outside 0..65535, so their scale is unknown; save it with 8 or 16 bits")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


def _image_from_pixels(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is not an image, or of an unknown format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]


class _PixelStore:
    """One array that images of one size are appended to; gray turns to RGB at the first colour image."""

    def __init__(self, capacity: int, origin: str) -> None:
        self._capacity = capacity
        self._origin = origin
        self._array: np.ndarray | None = None
        self._filled = 0

    @property
    def pixels(self) -> np.ndarray:
        """(n, c, h, w) of what was appended."""
        assert self._array is not None
        return self._array[: self._filled]

    def append(self, pixels: np.ndarray) -> None:
        """Adds (c, h, w), c being 1 or 3."""
        if self._array is None:
            self._array = np.empty((self._capacity, *pixels.shape), dtype=np.uint8)
        if pixels.shape[1:] != self._array.shape[2:]:
            first, other = self._array.shape[2:], pixels.shape[1:]
            raise DifferentSizesError(
                f"{self._origin}: images have different sizes, among them {first[0]}x{first[1]} and "
                f"{other[0]}x{other[1]} (height x width). Pass --image-size {min(first)}, in Python "
                f"image_size={min(first)}, or another size to resize them all.",
                min(first),
            )
        if len(pixels) > self._array.shape[1]:
            self._array = np.repeat(self._array, len(pixels), axis=1)
        self._array[self._filled] = pixels  # a gray image fills all three channels
        self._filled += 1
