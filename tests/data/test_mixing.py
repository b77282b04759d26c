"""CutMix and mixup: what is in the images is what the mixture says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.data.mixing import Mixture, cutmix, mixup


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(shape: tuple[int, int, int, int] = (6, 3, 8, 12)) -> torch.Tensor:
    """Every image has one value of its own, so a pixel tells where it is from."""
    return torch.arange(shape[0], dtype=torch.float64)[:, None, None, None].expand(shape).clone()


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_shares_are_those_of_the_pixels(seed):
    images = numbered()
    mixed = cutmix(images, generator(seed))
    shares = mixed.mixture.of(torch.eye(6, dtype=torch.float64))
    for number, (image, share) in enumerate(zip(mixed.images, shares, strict=True)):
        counted = torch.bincount(image[0].flatten().long(), minlength=6).double() / image[0].numel()
        torch.testing.assert_close(share, counted, rtol=0, atol=1e-12)
        foreign = image[0] != number
        rows, columns = foreign.any(1).sum(), foreign.any(0).sum()
        assert foreign.sum() == rows * columns  # a rectangle
    assert torch.equal(images, numbered())


def test_one_rectangle_for_the_batch_and_shares_of_all_sizes():
    shares = []
    for seed in range(60):
        images = numbered((7, 1, 32, 32))
        mixed = cutmix(images, generator(seed))
        masks = {tuple((mixed.images[i, 0] != images[i, 0]).flatten().tolist()) for i in range(7)}
        masks.discard((False,) * 1024)  # an image may be its own partner
        assert len(masks) <= 1
        shares.append(mixed.mixture.share)
    assert min(shares) < 0.1
    assert max(shares) > 0.6


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 999))
def test_mixup_adds_partners_by_their_share(count, seed):
    images = torch.randn(count, 2, 4, 5, generator=generator(seed + 1))
    before = images.clone()
    mixed = mixup(images, generator(seed))
    share, partner = mixed.mixture.share, mixed.mixture.partner
    assert 0 <= share < 1
    assert sorted(partner.tolist()) == list(range(count))
    for number in range(count):
        expected = (1 - share) * images[number] + share * images[partner[number]]
        torch.testing.assert_close(mixed.images[number], expected)
    assert torch.equal(images, before)


def test_mixup_shares_are_drawn_evenly():
    shares = torch.tensor([mixup(torch.zeros(1, 1, 2, 2), generator(seed)).mixture.share for seed in range(2000)])
    counts = torch.histc(shares, 5, 0, 1) / len(shares)
    torch.testing.assert_close(counts, torch.full((5,), 0.2), atol=0.04, rtol=0)


@pytest.mark.parametrize("mix", [cutmix, mixup])
def test_the_generator_decides_and_nothing_else_is_drawn_from(mix):
    images, state = numbered(), torch.get_rng_state()
    first, again, other = mix(images, generator(3)), mix(images, generator(3)), mix(images, generator(4))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("mix", [cutmix, mixup])
def test_a_single_image_is_its_own_partner(mix):
    image = torch.randn(1, 3, 8, 8)
    mixed = mix(image, generator())
    torch.testing.assert_close(mixed.images, image)
    torch.testing.assert_close(mixed.mixture.of(torch.tensor([[0.0, 0.0, 1.0]])), torch.tensor([[0.0, 0.0, 1.0]]))


def test_a_mixture_mixes_anything_by_its_shares():
    mixture = Mixture(torch.tensor([1, 0]), 0.25)
    logits = torch.tensor([[4.0, 0.0], [0.0, 8.0]])
    assert mixture.of(logits).tolist() == [[3.0, 2.0], [1.0, 6.0]]
