"""Pixels that are arrays already: their layout, their scale and their resizing."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from distail.data.sources.decode import decode_images, in_batches
from distail.errors import DistailError
from distail.progress import Progress

CHANNEL_COUNTS = (1, 3, 4)
CHUNK = 1024
"""Images converted at once, so that a float array is never copied whole."""


def uint8_images(array: np.ndarray, origin: str) -> UInt8[np.ndarray, "n h w c"]:
    """Images as (n, height, width, channels) of 0..255, from any of the usual layouts and scales.

    Layout: (n, h, w) is grayscale; of (n, h, w, c) and (n, c, h, w), the one whose channel axis is 1, 3 or 4
    long. A fourth channel is taken for alpha and dropped.

    Scale: floating-point values that all lie in 0..1 are multiplied by 255, others must lie in 0..255, and
    both are rounded; integers must lie in 0..255; false and true become 0 and 255.

    Raises:
        DistailError: the layout is ambiguous or unknown, or values are out of range or not finite.
    """
    channels_last = _channels_last(array, origin)[..., :3]
    if channels_last.dtype == np.uint8:
        return channels_last
    scale = _scale(channels_last, origin)
    result = np.empty(channels_last.shape, dtype=np.uint8)
    for begin in range(0, len(result), CHUNK):
        piece = channels_last[begin : begin + CHUNK]
        result[begin : begin + CHUNK] = np.rint(piece.astype(np.float64) * scale)
    return result


def _channels_last(array: np.ndarray, origin: str) -> np.ndarray:
    if array.ndim == 3:
        return array[..., None]
    if array.ndim != 4:
        raise DistailError(
            f"{origin}: the image array has shape {array.shape}. "
            "Save images as (n, height, width) or (n, height, width, channels)."
        )
    first, last = array.shape[1] in CHANNEL_COUNTS, array.shape[3] in CHANNEL_COUNTS
    if first and last:
        raise DistailError(
            f"{origin}: images of shape {array.shape} may have their channels first or last. "
            "Save them as (n, height, width, channels) with sides of at least 8 pixels."
        )
    if not first and not last:
        raise DistailError(
            f"{origin}: images of shape {array.shape} have no axis of 1, 3 or 4 channels, first or last. "
            "Save grayscale or RGB images as (n, height, width, channels)."
        )
    return array.transpose(0, 2, 3, 1) if first else array


def _scale(array: np.ndarray, origin: str) -> float:
    """What to multiply by; the values are checked on the way."""
    if array.dtype.kind == "b" or array.size == 0:
        return 255.0
    if array.dtype.kind not in "iuf":
        raise DistailError(f"{origin}: images of type {array.dtype} are not understood. Save them as uint8.")
    lowest, highest = float(array.min()), float(array.max())
    # NaN and infinity both survive into the extremes, so that no pass over the array is needed for them.
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise DistailError(f"{origin}: the images hold NaN or infinite pixels. Repair them or save uint8 images.")
    if lowest < 0 or highest > 255:
        raise DistailError(
            f"{origin}: pixels run from {lowest:g} to {highest:g}. "
            "Undo any normalisation and save them as uint8, or as floats in 0..1 or 0..255."
        )
    return 255.0 if array.dtype.kind == "f" and highest <= 1 else 1.0


def resized(
    images: UInt8[np.ndarray, "n h w c"], image_size: tuple[int, int] | None, origin: str, progress: Progress
) -> UInt8[np.ndarray, "n c h2 w2"]:
    """Channels-first images of `image_size`, resized like decoded ones; contiguous.

    Raises:
        DistailError: there are no images.
    """
    if image_size is None or image_size == images.shape[1:3]:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    batches = in_batches(images)
    return decode_images(batches, len(images), image_size=image_size, origin=origin, progress=progress).pixels
