import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.data.augment import DSA, DSA_OPERATIONS
from distail.data.augment_chain import DSAChain
from distail.errors import DistailError
from distail.training.recipe import TrainRecipe

SHAPE = (3, 12, 10)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 5) -> torch.Tensor:
    return torch.randn(n, *SHAPE, generator=generator(99))


@settings(max_examples=40, deadline=None)
@given(
    strategy=st.sampled_from(["crop_flip", "none", "", DSA.strategy, "resized"]),
    seed=st.integers(0, 999),
    shared=st.booleans(),
)
def test_a_single_part_is_dsa_to_the_last_draw(strategy, seed, shared):
    chain, plain = generator(seed), generator(seed)
    assert torch.equal(DSAChain(strategy)(images(), chain, shared), DSA(strategy)(images(), plain, shared))
    assert torch.equal(chain.get_state(), plain.get_state())


@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.sampled_from([*DSA_OPERATIONS, "crop_flip", "none"]), min_size=2, max_size=4),
    seed=st.integers(0, 999),
)
def test_parts_are_drawn_and_applied_in_turn(parts, seed):
    found = DSAChain("+".join(parts))(images(), generator(seed))
    expected, source = images(), generator(seed)
    for part in parts:
        expected = DSA(part)(expected, source)
    assert torch.equal(found, expected)


def test_a_draw_can_be_applied_again():
    chain, before = DSAChain("resized+flip+color", smallest_crop=0.5), images()
    drawn = chain.sample(5, SHAPE, generator(2))
    assert [one.operation for one in drawn] == ["resized", "flip", "color"]
    assert torch.equal(chain.apply(before, drawn), chain.apply(before, drawn))
    assert torch.equal(before, images())
    assert chain.parts[0].smallest_crop == 0.5
    shared = chain.sample(5, SHAPE, generator(2), shared=True)
    assert torch.equal(chain.apply(before[:2], shared), chain.apply(before, shared)[:2])


def test_an_empty_batch_comes_back_without_a_draw():
    source = generator()
    state = source.get_state()
    assert DSAChain("resized+flip")(images()[:0], source).shape == (0, *SHAPE)
    assert torch.equal(source.get_state(), state)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("resized+flp", r"Unknown augmentation 'flp' in strategy 'flp'\. Did you mean 'flip'"),
        ("+flip", "nothing on one side of a '\\+'"),
        ("resized+", "nothing on one side"),
        ("resized++flip", "nothing on one side"),
    ],
)
def test_bad_strategies_are_refused(strategy, message):
    with pytest.raises(DistailError, match=message):
        DSAChain(strategy)


def test_bad_crops_are_refused():
    with pytest.raises(DistailError, match=r"'smallest_crop' must be in 0\.\.1, not 1\.5"):
        DSAChain("resized", smallest_crop=1.5)


def test_its_defaults_are_those_of_recipes():
    assert (DSAChain().strategy, DSAChain().smallest_crop) == (TrainRecipe().augmentation, TrainRecipe().smallest_crop)
