import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.seeding import derive_seed, isolated_seed, torch_generator

scopes = st.lists(st.one_of(st.integers(-3, 30), st.text("abc", max_size=3)), max_size=3)


def draw(seed: int, *scope: str | int) -> list[float]:
    return torch.rand(4, generator=torch_generator(seed, *scope)).tolist()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 20), scopes, st.integers(0, 20), scopes)
def test_seeds_are_equal_exactly_where_their_names_are(seed, scope, other_seed, other_scope):
    same = [str(part) for part in (seed, *scope)] == [str(part) for part in (other_seed, *other_scope)]
    assert (derive_seed(seed, *scope) == derive_seed(other_seed, *other_scope)) == same


@settings(max_examples=50, deadline=None)
@given(st.integers(), scopes)
def test_seeds_fit_every_generator(seed, scope):
    derived = derive_seed(seed, *scope)
    assert 0 <= derived < 2**63
    torch.Generator().manual_seed(derived)
    np.random.default_rng(derived)


def test_seeds_never_change():
    """A change would silently alter every published result."""
    assert derive_seed(0) == 3456079177858693020
    assert derive_seed(0, "dm", 3) == 26173163177388091


def test_parts_of_a_scope_do_not_run_together():
    assert derive_seed(0, "a", "b") != derive_seed(0, "ab")
    assert derive_seed(1, "1") != derive_seed(11)
    assert derive_seed(0, "a", 1, 2) != derive_seed(0, "a", 12)


def test_generators_of_different_names_are_unlike():
    drawn = [draw(seed, name, number) for seed in range(3) for name in "ab" for number in range(3)]
    assert len({tuple(values) for values in drawn}) == len(drawn)
    many = torch.tensor([draw(0, "x", number) for number in range(500)])
    assert (torch.corrcoef(many.T) - torch.eye(4)).abs().max() < 0.2
    assert (many.mean(0) - 0.5).abs().max() < 5 * 0.29 / 500**0.5  # uniform over the names, too


def test_what_ran_before_does_not_matter():
    first = draw(5, "dm", 3)
    torch.manual_seed(1)
    torch.rand(10)
    torch_generator(5, "dm", 2)
    assert draw(5, "dm", 3) == first


def test_making_generators_leaves_global_randomness_alone():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    torch_generator(0, "a")
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_isolated_seed_decides_inside_and_restores_after():
    before = torch.get_rng_state()
    with isolated_seed(3, "weights"):
        inside = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(100)
    with isolated_seed(3, "weights"):
        assert torch.equal(torch.rand(3), inside)
    with isolated_seed(3, "other"):
        assert not torch.equal(torch.rand(3), inside)
    assert torch.equal(torch.rand(3, generator=torch_generator(3, "weights")), inside)


def test_isolated_seed_restores_after_an_error_and_nests():
    before = torch.get_rng_state()
    with pytest.raises(KeyError), isolated_seed(0):
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)
    with isolated_seed(0, "outer"):
        expected = torch.rand(2)
    with isolated_seed(0, "outer"):
        with isolated_seed(0, "inner"):
            torch.rand(7)
        assert torch.equal(torch.rand(2), expected)
