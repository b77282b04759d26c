"""Labels of any type to positions in a list of class names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64

from distail.errors import DistailError

SPARSE_LABELS_FROM = 1000
"""Unnamed integer labels from here, and from ten times the number of images, are taken for ids."""


def encode_labels(
    values: np.ndarray, missing: Bool[np.ndarray, " n"], names: tuple[str, ...] | None, origin: str
) -> tuple[Int64[np.ndarray, " n"], tuple[str, ...]]:
    """Labels as positions in class names, and those names.

    Integer labels are positions already; without `names`, classes are called '0' to the highest label. String
    labels are looked up in `names`, or in their own sorted distinct values.

    Args:
        values: (n,), integers, whole floating-point numbers, booleans or strings; anything where missing.
        missing: (n,), true where there is no label.
        names: the class names, where the source states them.
        origin: the source, for messages.

    Raises:
        DistailError: a label is missing, negative, fractional, or none of the named classes; says in which
            rows.
    """
    if missing.any():
        raise DistailError(f"{origin}: no label in {_rows(missing)}. Label these images or remove them.")
    if values.dtype.kind in "OUST":
        return _encode_strings(np.asarray([_text(value) for value in values.tolist()], dtype=object), names, origin)
    if values.dtype.kind == "f":
        odd = ~np.isfinite(values) | (values != np.floor(values))
        if odd.any():
            raise DistailError(
                f"{origin}: the label is no whole number in {_rows(odd)}. Labels name classes: use integers."
            )
    elif values.dtype.kind not in "biu":
        raise DistailError(f"{origin}: labels of type {values.dtype} are not understood. Use integers or strings.")
    return _encode_integers(values, names, origin)


def _encode_integers(
    values: np.ndarray, names: tuple[str, ...] | None, origin: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    if len(values) == 0:
        return values.astype(np.int64), names or ()
    negative = values < 0
    if negative.any():
        raise DistailError(
            f"{origin}: the label is negative in {_rows(negative)}, which usually marks unlabelled images. "
            "Label them, remove them, or use another split."
        )
    if names is not None:
        beyond = values >= len(names)
        if beyond.any():
            raise DistailError(
                f"{origin}: the label is beyond the {len(names)} class names in {_rows(beyond)}. "
                "Correct the labels or the list of class names."
            )
        return values.astype(np.int64), names
    highest = int(values.max())
    if highest >= max(SPARSE_LABELS_FROM, 10 * len(values)):
        raise DistailError(
            f"{origin}: labels run up to {highest} with only {len(values)} images, "
            "like ids and unlike classes. Number the classes from 0, or use strings."
        )
    return values.astype(np.int64), tuple(str(label) for label in range(highest + 1))


def _encode_strings(
    values: np.ndarray, names: tuple[str, ...] | None, origin: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    blank = values == ""
    if blank.any():
        raise DistailError(
            f"{origin}: the label is an empty string in {_rows(blank)}. Label these images or remove them."
        )
    known = names if names is not None else tuple(sorted(set(values.tolist())))
    position = {name: label for label, name in enumerate(known)}
    labels = np.asarray([position.get(value, -1) for value in values.tolist()], dtype=np.int64)
    if (labels < 0).any():
        raise DistailError(
            f"{origin}: label '{values[labels < 0][0]}' is none of the class names in {_rows(labels < 0)}. "
            "Correct the labels or the list of class names."
        )
    return labels, known


def texts(values: Sequence[object] | np.ndarray) -> tuple[str, ...]:
    """Class names as strings; bytes are read as UTF-8."""
    return tuple(_text(value) for value in np.asarray(values).ravel().tolist())


def _text(value: object) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _rows(where: np.ndarray, limit: int = 5) -> str:
    rows = np.flatnonzero(where)
    shown = ", ".join(str(row) for row in rows[:limit])
    more = f" and {len(rows) - limit} more" if len(rows) > limit else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more} (counted from 0)"
