"""Compiled loops behind `distail.models.fused`: instance norm, ReLU and 2x2 average pool of one map at a time.

A map is small enough to stay in the processor's first cache, so one pass over memory does what separate layers
do in many. Every kernel takes maps as rows: `u` is (n*c, height*width), and what is pooled (n*c, height*width/4),
both contiguous, of float32, float64, or of uint16 that holds the bits of bfloat16. Coefficients, with one row each
for gamma and beta and, beside a tangent, for their derivatives (2 or 4, c), and statistics, with one row a map, are
float64 with float64 maps, else float32. Every sum is taken in that type, over images in the order of the images, so
that equal input gives equal bits. No kernel checks a bound; `distail.models.fused` checks shapes.

Importing this module imports numba, which takes about a second; the first call of a kernel on a new type
compiles it, which takes a few seconds, or loads it from numba's cache beside this file.

Source: Ulyanov et al., arXiv:1607.08022 (instance norm). The derivatives are worked out by hand; in the comments
of the kernels ũ is the normalised map, and a bar marks the gradient of the loss for a number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, no_type_check

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

# All of fast mathematics but its assumption that no number is NaN or infinite: a diverged run must show.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz", "afn"},
}
"""How numba compiles each kernel."""

SKEW = 272
"""Numbers between the rows of working memory, so that rows of 4096 bytes do not share their places in the cache."""

Reals = NDArray[np.floating]
Maps = NDArray[Any]


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """The compiled kernel, kept on disk where numba finds a folder that it may write to."""
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:
        return njit(**OPTIONS)(function)


def _load(source: Any, row: Any, to: Any) -> None: ...


def _store(target: Any, row: Any, values: Any) -> None: ...


@overload(_load, inline="never")
@no_type_check
def _load_of_type(source, row, to):
    """Copies one map into working memory, widened to float32 where it is bfloat16."""

    def copy(source, row, to):
        for j in range(to.size):
            to[j] = source[row, j]

    def widen(source, row, to):
        bits = to.view(np.uint32)
        for j in range(to.size):
            bits[j] = np.uint32(source[row, j]) << np.uint32(16)

    return widen if source.dtype == types.uint16 else copy


@overload(_store, inline="never")
@no_type_check
def _store_of_type(target, row, values):
    """Copies working memory out to one map, rounded to the nearest bfloat16, ties to even, where it is one."""

    def copy(target, row, values):
        for j in range(values.size):
            target[row, j] = values[j]

    def narrow(target, row, values):
        bits = values.view(np.uint32)
        for j in range(values.size):
            x = bits[j]
            odd = (x >> np.uint32(16)) & np.uint32(1)
            rounded = (x + np.uint32(0x7FFF) + odd) >> np.uint32(16)
            # Rounding up could carry a NaN over into a number.
            target[row, j] = np.uint16(0x7FC0 if (x & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000) else rounded)

    return narrow if target.dtype == types.uint16 else copy


@_compiled
@no_type_check
def _gather(values: Reals, height: int, width: int, pooled: Reals) -> None:
    """Means of the 2x2 cells of one map, which is overwritten."""
    quarter = values.dtype.type(0.25)
    for y in range(height // 2):
        upper, lower, to = 2 * y * width, (2 * y + 1) * width, y * (width // 2)
        for j in range(width):
            values[upper + j] += values[lower + j]
        for j in range(width // 2):
            pooled[to + j] = (values[upper + 2 * j] + values[upper + 2 * j + 1]) * quarter


@_compiled
@no_type_check
def _spread(pooled: Reals, height: int, width: int, values: Reals) -> None:
    """Every number of a pooled map on each of the four places that it was the mean of."""
    for y in range(height // 2):
        upper, lower, at = 2 * y * width, (2 * y + 1) * width, y * (width // 2)
        for j in range(width // 2):
            value = pooled[at + j]
            values[upper + 2 * j] = value
            values[upper + 2 * j + 1] = value
        for j in range(width):
            values[lower + j] = values[upper + j]


@_compiled
@no_type_check
def forward(u: Maps, height: int, width: int, coefficients: Reals, eps: float, p: Maps, statistics: Reals) -> None:
    """Writes the pooled maps `p`, and for each map its mean and 1/sqrt(variance + eps)."""
    maps, n = u.shape
    real = coefficients.dtype.type
    zero, one_nth, channels = real(0), real(1) / real(n), coefficients.shape[1]
    work = np.empty((2, n + SKEW), coefficients.dtype)
    x = work[0][:n]
    out = work[1][: n // 4]
    for i in range(maps):
        _load(u, i, x)
        total, squares = zero, zero
        for j in range(n):
            total += x[j]
        m = total * one_nth
        for j in range(n):
            squares += (x[j] - m) * (x[j] - m)
        s = real(1) / np.sqrt(squares * one_nth + real(eps))
        statistics[i, 0], statistics[i, 1] = m, s
        g, b = coefficients[0, i % channels], coefficients[1, i % channels]
        for j in range(n):
            z = (x[j] - m) * s * g + b
            # Written so that a NaN passes.
            x[j] = zero if z <= zero else z
        _gather(x, height, width, out)
        _store(p, i, out)


@_compiled
@no_type_check
def backward(
    u: Maps,
    height: int,
    width: int,
    statistics: Reals,
    coefficients: Reals,
    p_bar: Maps,
    u_bar: Maps,
    coefficients_bar: Reals,
) -> None:
    """Writes the gradient for u, and adds to that for the coefficients, given that for `p`."""
    maps, n = u.shape
    real = coefficients.dtype.type
    zero, quarter, one_nth, channels = real(0), real(0.25), real(1) / real(n), coefficients.shape[1]
    work = np.empty((3, n + SKEW), coefficients.dtype)
    x = work[0][:n]
    z_bar = work[1][:n]
    pooled = work[2][: n // 4]
    for i in range(maps):
        _load(u, i, x)
        _load(p_bar, i, pooled)
        c = i % channels
        m, s, g, b = statistics[i, 0], statistics[i, 1], coefficients[0, c], coefficients[1, c]
        total, along = zero, zero
        _spread(pooled, height, width, z_bar)
        for j in range(n):
            normed, value = (x[j] - m) * s, z_bar[j] * quarter
            value = zero if normed * g + b <= zero else value
            x[j] = normed
            z_bar[j] = value
            total += value
            along += value * normed
        coefficients_bar[0, c] += along
        coefficients_bar[1, c] += total
        slope, total_nth, along_nth = g * s, total * one_nth, along * one_nth
        for j in range(n):
            z_bar[j] = slope * (z_bar[j] - total_nth - x[j] * along_nth)
        _store(u_bar, i, z_bar)


@_compiled
@no_type_check
def tangent_forward(
    u: Maps, du: Maps, height: int, width: int, coefficients: Reals, eps: float, p: Maps, dp: Maps, statistics: Reals
) -> None:
    """Writes the pooled maps and their derivative, and for each map four statistics.

    These are, in this order: mean of u, 1/sqrt(variance of u + eps), mean of du, mean of ũ du.
    """
    maps, n = u.shape
    real = coefficients.dtype.type
    zero, one_nth, channels = real(0), real(1) / real(n), coefficients.shape[1]
    work = np.empty((4, n + SKEW), coefficients.dtype)
    x = work[0][:n]
    d = work[1][:n]
    out = work[2][: n // 4]
    dout = work[3][: n // 4]
    for i in range(maps):
        _load(u, i, x)
        _load(du, i, d)
        total, dtotal, squares, mixed = zero, zero, zero, zero
        for j in range(n):
            total += x[j]
            dtotal += d[j]
        m, dm = total * one_nth, dtotal * one_nth
        for j in range(n):
            squares += (x[j] - m) * (x[j] - m)
            mixed += (x[j] - m) * (d[j] - dm)
        s = real(1) / np.sqrt(squares * one_nth + real(eps))
        k = mixed * s * one_nth
        statistics[i, 0], statistics[i, 1], statistics[i, 2], statistics[i, 3] = m, s, dm, k
        c = i % channels
        g, b, dg, db = coefficients[0, c], coefficients[1, c], coefficients[2, c], coefficients[3, c]
        for j in range(n):
            normed = (x[j] - m) * s
            z = normed * g + b
            dz = g * s * (d[j] - dm - normed * k) + dg * normed + db
            # Written so that a NaN passes.
            off = z <= zero
            x[j] = zero if off else z
            d[j] = zero if off else dz
        _gather(x, height, width, out)
        _gather(d, height, width, dout)
        _store(p, i, out)
        _store(dp, i, dout)


@_compiled
@no_type_check
def tangent_backward(
    u: Maps,
    du: Maps,
    height: int,
    width: int,
    statistics: Reals,
    coefficients: Reals,
    p_bar: Maps,
    dp_bar: Maps,
    u_bar: Maps,
    du_bar: Maps,
    coefficients_bar: Reals,
) -> None:
    """Writes the gradients for u and du, and adds to that for the coefficients, given those for `p` and `dp`."""
    maps, n = u.shape
    real = coefficients.dtype.type
    zero, quarter, one_nth, channels = real(0), real(0.25), real(1) / real(n), coefficients.shape[1]
    work = np.empty((6, n + SKEW), coefficients.dtype)
    x = work[0][:n]
    d = work[1][:n]
    z_bar = work[2][:n]
    dz_bar = work[3][:n]
    pooled = work[4][: n // 4]
    dpooled = work[5][: n // 4]
    for i in range(maps):
        _load(u, i, x)
        _load(du, i, d)
        _load(p_bar, i, pooled)
        _load(dp_bar, i, dpooled)
        m, s, dm, k = statistics[i, 0], statistics[i, 1], statistics[i, 2], statistics[i, 3]
        c = i % channels
        g, b, dg = coefficients[0, c], coefficients[1, c], coefficients[2, c]
        total, along, dtotal, dalong, across = zero, zero, zero, zero, zero
        _spread(pooled, height, width, z_bar)
        _spread(dpooled, height, width, dz_bar)
        for j in range(n):
            normed, moved = (x[j] - m) * s, d[j] - dm
            value, dvalue = z_bar[j] * quarter, dz_bar[j] * quarter
            off = normed * g + b <= zero
            value, dvalue = zero if off else value, zero if off else dvalue
            x[j], d[j], z_bar[j], dz_bar[j] = normed, moved, value, dvalue
            total += value
            along += value * normed
            dtotal += dvalue
            dalong += dvalue * normed
            across += dvalue * (moved - normed * k)
        coefficients_bar[0, c] += along + s * across
        coefficients_bar[1, c] += total
        coefficients_bar[2, c] += dalong
        coefficients_bar[3, c] += dtotal
        # Gradient for ũ: g z̄ + dg ż̄ - s (k g ż̄ + mean(g ż̄ ũ) (du - mean du)), then, as for du, through the norm.
        a_mean, a_along = g * dtotal * one_nth, g * dalong * one_nth
        e_mean = (g * total + (dg - s * k * g) * dtotal) * one_nth
        e_along = (g * along + (dg - s * k * g) * dalong + s * g * across) * one_nth - s * a_along * k
        for j in range(n):
            e = g * z_bar[j] + (dg - s * k * g) * dz_bar[j] - s * a_along * d[j]
            z_bar[j] = s * (e - e_mean - x[j] * e_along)
            dz_bar[j] = s * (g * dz_bar[j] - a_mean - x[j] * a_along)
        _store(u_bar, i, z_bar)
        _store(du_bar, i, dz_bar)
