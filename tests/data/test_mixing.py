import pytest
import torch
from distail.data.cutmix import cutmix


def drawn(seed: int, shape=(6, 3, 8, 12)):
    generator = torch.Generator().manual_seed(seed)
    # Every image has one value of its own, so a pixel tells where it is from.
    images = torch.arange(shape[0], dtype=torch.float64)[:, None, None, None].expand(shape).clone()
    labels = torch.arange(shape[0]) % 4
    return images, labels, cutmix(images, labels, 4, generator)


@pytest.mark.parametrize("seed", range(8))
def test_targets_are_the_shares_of_the_pixels(seed):
    images, labels, mixed = drawn(seed)
    for number, (image, target) in enumerate(zip(mixed.images, mixed.targets, strict=True)):
        share = torch.zeros(4, dtype=torch.float64)
        for value in image[0].flatten().long().tolist():
            share[labels[value]] += 1 / image[0].numel()
        torch.testing.assert_close(target, share, rtol=0, atol=1e-12)
        foreign = image[0] != number
        rows, columns = foreign.any(1).sum(), foreign.any(0).sum()
        assert foreign.sum() == rows * columns  # a rectangle
    assert torch.equal(images, drawn(seed)[0])


def test_one_rectangle_for_the_batch_and_shares_of_all_sizes():
    shares = []
    for seed in range(60):
        images, _, mixed = drawn(seed, (7, 1, 32, 32))
        masks = {tuple((mixed.images[i, 0] != images[i, 0]).flatten().tolist()) for i in range(7)}
        masks.discard((False,) * 1024)  # an image may be its own partner
        assert len(masks) <= 1
        shares.append(max(float((mixed.images != images).double().mean((1, 2, 3)).max()), 0.0))
    assert min(shares) < 0.1
    assert max(shares) > 0.6


def test_a_single_image_is_its_own_partner():
    image = torch.randn(1, 3, 8, 8)
    mixed = cutmix(image, torch.tensor([2]), 3, torch.Generator().manual_seed(0))
    assert torch.equal(mixed.images, image)
    torch.testing.assert_close(mixed.targets, torch.tensor([[0.0, 0.0, 1.0]]))
