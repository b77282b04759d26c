"""How certain the soft labels of a set are of its hard ones."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from distail.learn.adsa import TAUS, Confidence
from distail.report.terminal import per_class_table

_TITLES = {"stored": "stored before", "teacher": "teacher", "adsa": "ADSA"}


def labels_report(
    class_names: Sequence[str], steps: Sequence[tuple[str, Confidence]], tau: float | None
) -> list[RenderableType]:
    """A table of the confidence in each class, and what a reader must know.

    Args:
        class_names: in label order.
        steps: 'stored', 'teacher' or 'adsa', and how certain labels were then.
        tau: that ADSA found, or None.
    """
    cells = {_TITLES[by]: [None if value is None else (value, 0.0) for value in found.by_class] for by, found in steps}
    parts: list[RenderableType] = [per_class_table(class_names, cells, "confidence in the hard label")]
    if tau is not None:
        bound = ", the largest that is tried: look whether the labels are of this set" if tau == TAUS[-1] else ""
        parts.append(
            f"ADSA took τ* = {tau:.2f} times the logarithm of class shares off the logits{bound}. Of those "
            "tried that leave labels certain enough, this number makes them most equally certain of all classes."
        )
    for by, found in steps:
        parts.append(
            f"{_TITLES[by]}: confidence {found.mean:.1%} on average over classes, standard deviation "
            f"{found.deviation:.1%}; {found.agreement:.1%} of the labels agree with the hard ones."
        )
    return parts
