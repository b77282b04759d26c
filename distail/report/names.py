"""Class names made fit to be shown: one line, nothing that a terminal obeys."""

from __future__ import annotations


def one_line(name: str) -> str:
    """The name on one line, control characters replaced by '�'; '(no name)' for a blank one.

    Class names come from files that others made; an escape sequence in one must not reach the terminal.
    """
    joined = " ".join(name.split())
    return "".join(char if char.isprintable() else "�" for char in joined) or "(no name)"
