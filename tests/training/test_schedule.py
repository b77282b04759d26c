import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.training.recipe import TrainRecipe
from distail.training.schedule import learning_rate

SCHEDULES = ["step", "cosine", "constant", "half_cosine", "late_steps", "late_linear", "one_cycle"]


def rates(schedule: str, epochs: int, steps: int = 1, **values) -> list[float]:
    how = TrainRecipe(epochs=epochs, learning_rate=1.0, schedule=schedule, **values)
    return [learning_rate(how, epoch, step, steps) for epoch in range(how.num_epochs) for step in range(steps)]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SCHEDULES), st.integers(1, 40), st.integers(1, 5), st.sampled_from([0.0, 0.1]))
def test_rates_are_positive_and_never_above_the_largest(schedule, epochs, steps, warmup):
    found = rates(schedule, epochs, steps, warmup=warmup)
    assert all(0 < rate <= 1 + 1e-12 for rate in found)


@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - {"one_cycle"}))
def test_all_but_one_begin_with_the_largest_and_never_rise(schedule):
    found = rates(schedule, 60, 2)
    assert found[0] == 1.0
    assert all(after <= before for before, after in pairwise(found))


def test_half_cosine_ends_at_a_half():
    """The formula of RDED's and EDC's code, ½(1 + cos(π·e / 2E))."""
    found = rates("half_cosine", 300)
    assert found == pytest.approx([0.5 * (1 + math.cos(math.pi * epoch / 2 / 300)) for epoch in range(300)])
    assert found[-1] == pytest.approx(0.5, abs=0.01)


def test_late_steps_halve_at_the_epochs_of_edc():
    found = rates("late_steps", 1000)
    assert found == [1.0] * 800 + [0.5] * 100 + [0.25] * 50 + [0.125] * 50


def test_late_linear_follows_half_cosine_and_falls_evenly_without_a_jump():
    found, half = rates("late_linear", 600), rates("half_cosine", 600)
    assert found[:500] == half[:500]
    steps = [before - after for before, after in pairwise(found[500:])]
    assert steps == pytest.approx([half[500] / 100] * 99)
    assert max(before - after for before, after in pairwise(found)) < 0.01
    assert found[-1] == pytest.approx(half[500] / 100)


def test_one_cycle_is_torchs():
    """Theirs counts steps and reaches its peak a step earlier; over many steps the curves are one."""
    total = 5000
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=total, pct_start=0.3, div_factor=25, final_div_factor=1e4
    )
    expected = []
    for _ in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step() if len(expected) < total else None
    found = rates("one_cycle", total)
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 2e-3
    assert found[0] == pytest.approx(1 / 25)
    assert found[1500] == pytest.approx(1.0)
    assert found[-1] < 1e-5
