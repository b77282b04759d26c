import pytest
import torch

from distail.data.augment_chain import DSAChain
from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.training.mixed_views import Lessons, mixed_views
from distail.training.training_set import RealTrainingSet
from tests.methods.tiny import tiny_images

SHAPE = (5, 3, 8, 12)
OWN = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3, 0]]
THEIRS = OWN.roll(1, dims=0)


def flat(value: float) -> torch.Tensor:
    """Images of one value, so that a pixel tells what it is made of."""
    return torch.full(SHAPE, value, dtype=torch.float64)


def drawn(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return mixed_views((flat(0), flat(0)), (flat(1), flat(1)), OWN, THEIRS, generator)


@pytest.mark.parametrize("seed", range(8))
def test_both_views_and_the_labels_have_one_share(seed):
    views = drawn(seed)
    share = 1 - float(views.whole[0, 0, 0, 0])
    torch.testing.assert_close(views.whole, flat(1 - share), rtol=0, atol=1e-12)
    torch.testing.assert_close(views.targets, share * OWN + (1 - share) * THEIRS, rtol=0, atol=1e-12)
    torch.testing.assert_close(views.targets.sum(1), torch.ones(5, dtype=torch.float64))


def test_the_part_is_one_rectangle_of_at_most_its_share():
    areas, shares = [], []
    for seed in range(200):
        views = drawn(seed)
        foreign = views.part[0, 0] == 1
        assert torch.equal(views.part, foreign.double().expand(SHAPE))
        assert foreign.sum() == foreign.any(1).sum() * foreign.any(0).sum()
        areas.append(float(foreign.double().mean()))
        shares.append(float(views.whole[0, 0, 0, 0]))
    assert all(area <= share + 1e-6 for area, share in zip(areas, shares, strict=True))
    assert torch.corrcoef(torch.tensor([areas, shares]))[0, 1] > 0.8
    assert abs(sum(shares) / len(shares) - 0.5) < 0.06  # uniform, as Beta(1, 1) is


def test_each_view_mixes_an_augmentation_of_its_own():
    looks = (flat(0), flat(10)), (flat(1), flat(11))
    views = mixed_views(looks[0], looks[1], OWN, THEIRS, torch.Generator().manual_seed(1))
    assert 0 <= float(views.whole.min()) <= float(views.whole.max()) <= 1
    assert set(views.part.unique().tolist()) == {10.0, 11.0}
    assert all(bool((image == value).all()) for pair, values in zip(looks, ((0, 10), (1, 11)), strict=True)
               for image, value in zip(pair, values, strict=True))  # fmt: skip


def lessons(images: ImageSet) -> Lessons:
    data = RealTrainingSet(images, fit_preprocessing(images, "none"))
    return Lessons(data, lambda epoch, generator: [])


def test_a_batch_is_made_of_its_images_and_their_partners():
    images = tiny_images((4, 4, 4))
    first, partners = torch.tensor([0, 1, 2]), torch.tensor([5, 5, 7])
    views = lessons(images).views(first, partners, DSAChain("none"), torch.Generator().manual_seed(0))
    pixels = images.images.float() / 255
    share = float(torch.rand((), generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(views.whole, share * pixels[first] + (1 - share) * pixels[partners])
    labels = torch.nn.functional.one_hot(images.labels, 3).float()
    torch.testing.assert_close(views.targets, share * labels[first] + (1 - share) * labels[partners])
    again = lessons(images).views(first, partners, DSAChain("none"), torch.Generator().manual_seed(0))
    assert torch.equal(views.part, again.part)
