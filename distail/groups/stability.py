"""How alike groupings are that come from other data or other seeds: the adjusted Rand index of every pair.

The index counts pairs of classes that are together in both groupings or apart in both, and is adjusted for chance: 1
for the same partition, 0 on average for random ones, below 0 for less agreement than chance.

Source: Hubert and Arabie, J. Classification 1985, as in scikit-learn's `adjusted_rand_score`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import fmean, stdev

import numpy as np

from distail.groups.grouping import Grouping


@dataclass(frozen=True)
class PairAgreement:
    """Agreement between the groupings of two data sets, or of two seeds on one.

    Attributes:
        first, second: names of the data; equal where seeds are compared.
        values: adjusted Rand index of each pair of groupings; none where one data set has a single grouping.
    """

    first: str
    second: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Mean index, or None where there is no pair."""
        return fmean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation over pairs, or None where there are fewer than two."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Agreement:
    """Agreement of all data sets with each other and with themselves.

    Attributes:
        names: of the data, in the order given.
        pairs: every two of them once, and each with itself.
    """

    names: tuple[str, ...]
    pairs: tuple[PairAgreement, ...]

    def of(self, first: str, second: str) -> PairAgreement:
        """The pair of these names, in either order."""
        return next(pair for pair in self.pairs if {pair.first, pair.second} == {first, second})


def matched_groups(first: Grouping, other: Grouping) -> dict[int, int]:
    """For each group of `other` the group of `first` it shares most classes with, one to one; surplus groups get new
    numbers."""
    from scipy.optimize import linear_sum_assignment

    size = max(first.num_groups, other.num_groups)
    shared = np.zeros((size, size))
    for mine, own in zip(other.group_of, first.group_of, strict=True):
        shared[mine, own] += 1
    rows, columns = linear_sum_assignment(-shared)
    return dict(zip(rows.tolist(), columns.tolist(), strict=True))


def moved_classes(first: Grouping, other: Grouping) -> list[int]:
    """The fewest classes that must change their group to make `other` of `first`, whatever the groups are called."""
    place = matched_groups(first, other)
    pairs = zip(first.group_of, other.group_of, strict=True)
    return [label for label, (own, mine) in enumerate(pairs) if place[mine] != own]


def adjusted_rand_index(first: Grouping, second: Grouping) -> float:
    """1 for the same partition, 0 on average for random ones.

    Raises:
        DistailError: the groupings are of other classes.
    """
    from sklearn.metrics import adjusted_rand_score

    first.require_for(second.class_names, "the other grouping")
    return float(adjusted_rand_score(first.group_of, second.group_of))


def agreement(groupings: Mapping[str, Sequence[Grouping]]) -> Agreement:
    """Compares all groupings of each data set, one for each seed, with all of every other, and with each other.

    Raises:
        DistailError: groupings are of other classes.
    """
    names = tuple(groupings)
    pairs = []
    for place, first in enumerate(names):
        for second in names[place:]:
            same = first == second
            both = combinations(groupings[first], 2) if same else product(groupings[first], groupings[second])
            pairs.append(PairAgreement(first, second, tuple(adjusted_rand_index(a, b) for a, b in both)))
    return Agreement(names, tuple(pairs))
