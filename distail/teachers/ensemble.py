"""Several teachers as one, whose logits are the mean of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distail.models.ensemble import SEPARATOR, mean_of
from distail.models.saved import SavedNetwork


def ensemble_of(teachers: Sequence[SavedNetwork]) -> SavedNetwork:
    """One network in place of several of the same images and classes; the first itself where there is one.

    Raises:
        DistailError: the classifier of one of several is not linear.
    """
    if len(teachers) == 1:
        return teachers[0]
    return replace(
        teachers[0],
        network=mean_of([teacher.network for teacher in teachers]),
        architecture=SEPARATOR.join(teacher.architecture for teacher in teachers),
        provenance={"members": [teacher.provenance for teacher in teachers]},
    )
