"""The partition of the classes with the largest sum of distances between groups: max-cut, and max-k-cut.

    argmax Σ_{i<k, g(i)≠g(k)} D_ik   over partitions into K groups, none of them empty

As the paper takes it, the sum is not divided by anything. It has |G1|·|G2| terms, so it prefers groups of nearly equal
size: where the distances differ little, it halves the classes.

- **Exact** for few classes: the paper enumerates the 511 partitions of ten, this search leaves branches that cannot win
  and ends within its limit for any distances of 25 classes in two groups, usually for 35 in two or 20 in five.
- **Tabu search** from several starts beyond that, with an upper bound on every cut, so that what may be missing is
  known. The bound is the dual of the semidefinite relaxation of max-cut. Any multipliers y give a valid one,

      cut ≤ (K-1)/(2K) · (Σ_ik D_ik - Σ_i y_i - n λ_min(D - diag(y))),

  and those of a low-rank solution are close to the best.

Source: Zheng et al., ICMSSP 2024 (the cut); Goemans and Williamson, J. ACM 1995, and Frieze and Jerrum, Algorithmica
1997 (the relaxations); Wang, Chang and Kolter, arXiv:1706.00476 (the mixing method that solves them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from distail.errors import DistailError
from distail.groups.cut_search import complete_search, tabu_search
from distail.groups.grouping import canonical
from distail.seeding import torch_generator

MAX_BRANCHES = 50_000_000
"""Partly placed partitions that the exact search looks at before it gives up; about three seconds."""

MAX_EXACT_CLASSES = 64
"""Classes above which the exact search is not begun."""

NUM_STARTS = 8
"""Random partitions that the tabu search starts from."""

STEPS_PER_CLASS = 50
"""Moves of one tabu search, for each class."""

_TOLERANCE = 1e-12
"""Relative to the sum of all distances: partitions closer than this are equal but for rounding."""

_MAX_SWEEPS = 300
_SWEEP_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Cut:
    """A partition and how good it is.

    Attributes:
        group_of: group of each class, numbered by the first class of each.
        value: sum of distances between classes of different groups, in units of the distances.
        upper_bound: no partition into as many groups has a larger sum; the value itself where the search was exact.
        exact: whether every partition was considered.
    """

    group_of: tuple[int, ...]
    value: float
    upper_bound: float
    exact: bool

    @property
    def gap(self) -> float:
        """By how much a better cut could exceed this one at most, as a fraction of the bound; 0 where exact."""
        return 0.0 if self.upper_bound <= 0 else max(0.0, 1 - self.value / self.upper_bound)


def max_cut(
    distances: Float64[Tensor, "n n"], num_groups: int = 2, seed: int = 0, *, max_branches: int = MAX_BRANCHES
) -> Cut:
    """The best partition, exact for few classes and by tabu search for many.

    Scaling the distances changes no group, nor does the order of the classes where the search is exact, unless two
    partitions are equally good.

    Args:
        distances: symmetric, finite and not negative; the diagonal is not looked at.
        num_groups: of which none is empty.
        seed: of the starts of the tabu search.
        max_branches: what the exact search may cost.

    Raises:
        DistailError: fewer than two groups, or more than there are classes.
    """
    matrix = checked_distances(distances, num_groups)
    found = _searched(matrix, num_groups, seed)
    exact = False
    if len(matrix) <= MAX_EXACT_CLASSES:
        found, exact = _completed(matrix, num_groups, found, max_branches)
    return _cut(matrix, found, num_groups, seed, exact=exact)


def heuristic_cut(
    distances: Float64[Tensor, "n n"],
    num_groups: int = 2,
    seed: int = 0,
    *,
    num_starts: int = NUM_STARTS,
    steps_per_class: int = STEPS_PER_CLASS,
) -> Cut:
    """The partition that tabu search finds, whatever the number of classes, with its upper bound.

    Args:
        distances, num_groups, seed: as for `max_cut`.
        num_starts: random partitions to start from.
        steps_per_class: moves from each, for each class.

    Raises:
        DistailError: as `max_cut`.
    """
    matrix = checked_distances(distances, num_groups)
    found = _searched(matrix, num_groups, seed, num_starts, steps_per_class)
    return _cut(matrix, found, num_groups, seed, exact=False)


def _cut(matrix: np.ndarray, groups: np.ndarray, num_groups: int, seed: int, *, exact: bool) -> Cut:
    value = cut_value(matrix, groups)
    bound = value if exact else max(value, _upper_bound(matrix, num_groups, seed))
    return Cut(canonical(tuple(groups.tolist())), value, bound, exact)


def _completed(matrix: np.ndarray, num_groups: int, start: np.ndarray, max_branches: int) -> tuple[np.ndarray, bool]:
    """The best of all partitions, or where that takes too long the best one seen, and which of the two it is."""
    # Classes far from all others come first, as they decide early whether a branch can win.
    order = np.argsort(-matrix.sum(0), kind="stable")
    ordered = np.ascontiguousarray(matrix[np.ix_(order, order)])
    groups = np.empty_like(start)
    groups[order], finished = complete_search(
        ordered, num_groups, start[order], _TOLERANCE * matrix.sum() / 2, max_branches
    )
    return groups, finished


def cut_value(distances: np.ndarray, group_of: np.ndarray) -> float:
    """Sum of distances between classes of different groups, each pair once."""
    apart = group_of[:, None] != group_of[None, :]
    return float(distances[apart].sum() / 2)


def checked_distances(distances: Float64[Tensor, "n n"], num_groups: int) -> np.ndarray:
    """The distances for a search: symmetric to the last bit, zero on the diagonal.

    Raises:
        DistailError: fewer than two groups, or more than there are classes.
    """
    count = len(distances)
    if num_groups < 2:
        raise DistailError(f"{num_groups} groups tell nothing apart. Ask for at least 2.")
    if num_groups > count:
        raise DistailError(
            f"{num_groups} groups of {count} classes: some would be empty. Ask for at most {count} groups."
        )
    matrix = distances.numpy().copy()
    if not np.isfinite(matrix).all() or (matrix < 0).any() or not np.allclose(matrix, matrix.T, rtol=1e-9, atol=0):
        raise DistailError("Distances between classes must be symmetric, finite and not negative. Correct the matrix.")
    np.fill_diagonal(matrix, 0.0)
    return (matrix + matrix.T) / 2


def _searched(
    matrix: np.ndarray,
    num_groups: int,
    seed: int,
    num_starts: int = NUM_STARTS,
    steps_per_class: int = STEPS_PER_CLASS,
) -> np.ndarray:
    """The best of several tabu searches."""
    count = len(matrix)
    tolerance = _TOLERANCE * matrix.sum() / 2
    best, best_value = np.zeros(count, dtype=np.int64), -np.inf
    for number in range(num_starts):
        # Equal sizes to begin with, since that is what the unnormalised sum prefers.
        shuffled = torch.randperm(count, generator=torch_generator(seed, "max-cut start", number)).numpy()
        start = np.empty(count, dtype=np.int64)
        start[shuffled] = np.arange(count) % num_groups
        found = tabu_search(matrix, num_groups, start, steps_per_class * count, tolerance)
        value = cut_value(matrix, found)
        if value > best_value + tolerance:
            best, best_value = found, value
    return best


def _upper_bound(matrix: np.ndarray, num_groups: int, seed: int) -> float:
    """A sum of distances between groups that no partition exceeds."""
    vectors = _relaxed(matrix, seed)
    multipliers = np.einsum("nr,nr->n", vectors, matrix @ vectors)
    shifted = matrix - np.diag(multipliers)
    least = float(np.linalg.eigvalsh(shifted)[0])
    total = float(matrix.sum())
    share = (num_groups - 1) / (2 * num_groups)
    bound = share * (total - float(multipliers.sum()) - len(matrix) * least)
    # Eigenvalues are exact to rounding, which must not turn a bound into less than one.
    return min(bound * (1 + 1e-10), total / 2)


def _relaxed(matrix: np.ndarray, seed: int) -> np.ndarray:
    """Unit vectors (n, r) that make Σ D_ik v_i·v_k small: each in turn points away from the sum of the others.

    Rank r = √(2n) + 1 suffices for the global optimum, which the mixing method reaches from almost every start.
    """
    count = len(matrix)
    rank = int(np.sqrt(2 * count)) + 1
    drawn = torch.randn(count, rank, dtype=torch.float64, generator=torch_generator(seed, "max-cut relaxation"))
    vectors = torch.nn.functional.normalize(drawn).numpy()
    before = np.inf
    for _ in range(_MAX_SWEEPS):
        energy = 0.0
        for i in range(count):
            pull = matrix[i] @ vectors
            length = np.sqrt(pull @ pull)
            energy -= length
            if length > 0:
                vectors[i] = -pull / length
        if before - energy <= _SWEEP_TOLERANCE * abs(energy):
            break
        before = energy
    return vectors
