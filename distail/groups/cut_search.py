"""Compiled loops behind `distail.groups.max_cut`: complete search for few classes, tabu search for many.

Both minimise the sum of distances within groups, which is the same as to maximise the sum between them. They draw no
random numbers. Importing this module imports numba; the first call compiles a loop in a second or two, or loads it
from numba's cache beside this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, no_type_check

import numpy as np
from numba import njit
from numpy.typing import NDArray

Distances = NDArray[np.float64]
Groups = NDArray[np.int64]


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled loop, kept on disk where numba finds a folder that it may write to."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@_compiled
@no_type_check
def complete_search(
    distances: Distances, num_groups: int, start: Groups, tolerance: float, max_branches: int
) -> tuple[Groups, bool]:
    """The partition into `num_groups` groups, none empty, with the least sum of distances within.

    Goes through all partitions in restricted growth order: class 0 is in group 0, and every other in a group that has
    members, or in the next new one. A branch is left where the distances within so far, and for each class still to
    be placed its least sum of distances to a group, come to no less than the best partition known.

    Args:
        distances: (n, n), symmetric, none negative; n² small, as working memory is n²k.
        num_groups: k, at most n.
        start: (n,), a partition to begin with, the better the faster.
        tolerance: by how much a partition must be better to replace the best.
        max_branches: ends the search before its time; each takes time n k.

    Returns:
        The best partition found, and whether the search came to its end, so that none is better.
    """
    n = len(distances)
    best_groups = start.copy()
    best = 0.0
    for i in range(n):
        for j in range(i):
            if start[i] == start[j]:
                best += distances[i, j]
    to_group = np.zeros((n + 1, n, num_groups))  # [depth, class, group]: distances to the members placed so far
    choice = np.full(n, -1, dtype=np.int64)
    used = np.zeros(n + 1, dtype=np.int64)
    within = np.zeros(n + 1)
    depth, branches = 0, 0
    while depth >= 0:
        if branches == max_branches:
            return best_groups, False
        choice[depth] += 1
        group = choice[depth]
        if group > used[depth] or group == num_groups:
            choice[depth] = -1
            depth -= 1
            continue
        now_used = max(used[depth], group + 1)
        total = within[depth] + to_group[depth, depth, group]
        if n - depth - 1 < num_groups - now_used or total >= best - tolerance:
            continue
        if depth == n - 1:
            best = total
            best_groups[:] = choice
            continue
        branches += 1
        bound = total
        for i in range(depth + 1, n):
            least = np.inf
            for g in range(num_groups):
                value = to_group[depth, i, g] + (distances[depth, i] if g == group else 0.0)
                to_group[depth + 1, i, g] = value
                least = min(least, value)
            bound += least
        if bound >= best - tolerance:
            continue
        depth += 1
        used[depth], within[depth] = now_used, total
    return best_groups, True


@_compiled
@no_type_check
def tabu_search(distances: Distances, num_groups: int, start: Groups, num_steps: int, tolerance: float) -> Groups:
    """The best partition on a walk that moves one class a step, always the move that is best at the moment.

    A class may not go back to the group it left for a number of steps, min(20, n/4) and up to 9 more, unless that
    makes the best partition so far. The last member of a group stays.

    Args:
        distances: (n, n), symmetric.
        num_groups: k, at most n.
        start: (n,), a partition without empty groups; left as it is.
        num_steps: moves; each takes time n k.
        tolerance: by how much a partition must be better to count as the best.

    Source: Glover, ORSA J. Comput. 1989 (tabu search); Kochenberger et al., J. Heuristics 2013 (for max-cut).
    """
    n = len(distances)
    groups = start.copy()
    best_groups = start.copy()
    sizes = np.zeros(num_groups, dtype=np.int64)
    to_group = np.zeros((n, num_groups))
    for i in range(n):
        sizes[groups[i]] += 1
        for j in range(n):
            to_group[i, groups[j]] += distances[i, j]
    allowed_from = np.zeros((n, num_groups), dtype=np.int64)
    tenure = min(20, n // 4)
    current = best = 0.0  # changes against the start
    for step in range(num_steps):
        least, mover, goal = np.inf, -1, -1
        for i in range(n):
            own = groups[i]
            if sizes[own] == 1:
                continue
            for g in range(num_groups):
                if g == own:
                    continue
                change = to_group[i, g] - to_group[i, own]
                if change < least and (step >= allowed_from[i, g] or current + change < best - tolerance):
                    least, mover, goal = change, i, g
        if mover < 0:
            continue
        own = groups[mover]
        for j in range(n):
            to_group[j, own] -= distances[mover, j]
            to_group[j, goal] += distances[mover, j]
        sizes[own] -= 1
        sizes[goal] += 1
        groups[mover] = goal
        allowed_from[mover, own] = step + 1 + tenure + step % 10
        current += least
        if current < best - tolerance:
            best = current
            best_groups[:] = groups
    return best_groups
