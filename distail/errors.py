"""The exception that users meet, the wording helpers that make it useful, and how lack of memory is recognised."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DistailError(Exception):
    """Bad input or an impossible request; the message says what was wrong, where, and what to do.

    The command line prints the message alone and exits with code 2. A traceback means a bug in distail instead.
    """


class DifferentSizesError(DistailError):
    """Images of one source differ in size, and no size to bring them to was asked for.

    Attributes:
        smaller: the smaller side of the first image, in pixels.
    """

    def __init__(self, message: str, smaller: int) -> None:
        super().__init__(message)
        self.smaller = smaller


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, torch on the CPU, or torch on a GPU ran out of memory; torch says so in several ways."""
    return isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "allocate memory" in str(error)


def counted(number: int, noun: str, plural: str = "") -> str:
    """'1 class' and '1,234 images': a number with its noun, whose plural ends in 's' if no other is given."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Names the closest of `options`, or lists them all where nothing is close, as a sentence to append."""
    known = sorted(options)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Choose one of: {', '.join(known)}." if known else "There is nothing to choose from; leave it out."
