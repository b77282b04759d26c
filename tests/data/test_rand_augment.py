import pytest
import torch

from distail.data.augment import DSA
from distail.data.augment_chain import DSAChain
from distail.data.preprocess import Preprocessing, fit_preprocessing
from distail.data.rand_augment import RandAugment
from distail.data.rand_operations import RAND_OPERATIONS, operate
from distail.data.stacked_augment import StackedDSA
from distail.errors import DistailError
from tests.methods.tiny import tiny_images

SHAPE = (3, 32, 24)
NONE = Preprocessing("none", SHAPE)
COMMON = {
    **{"identity": 0, "shear_x": 0.09, "shear_y": 0.09, "translate_x": 3, "translate_y": 4, "rotate": 9},
    **{"brightness": 0.27, "color": 0.27, "contrast": 0.27, "sharpness": 0.27},
    **{"posterize": 7, "solarize": 178.5, "autocontrast": 0, "equalize": 0},
}
"""Levels of magnitude 9 in images 32 high and 24 wide: 150/331 of a side and 0.3 of that, in whole pixels."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(n: int = 6, shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    return torch.randint(0, 256, (n, *shape), generator=generator(9)).float()


def test_draws_every_operation_and_sign_alike():
    drawn = RandAugment(NONE).sample(7000, SHAPE, generator()).values
    counts = torch.bincount(drawn["operations"].flatten(), minlength=14)
    assert len(counts) == 14
    assert ((counts - 1000).abs() < 4 * 1000**0.5).all()
    assert abs(float(drawn["negative"].float().mean()) - 0.5) < 0.02
    assert abs(float((drawn["operations"][:, 0] == drawn["operations"][:, 1]).float().mean()) - 1 / 14) < 0.015


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("name", RAND_OPERATIONS)
def test_levels_of_the_common_magnitude(name, negative):
    augment, number = RandAugment(NONE, num_operations=1), RAND_OPERATIONS.index(name)
    drawn = augment.sample(6, SHAPE, generator())
    drawn.values["operations"].fill_(number)
    drawn.values["negative"].fill_(negative)
    level = -COMMON[name] if negative and name not in ("posterize", "solarize") else COMMON[name]
    expected = operate(pixels(), torch.full((6,), number), torch.full((6,), float(level)))
    torch.testing.assert_close(augment.apply(pixels() / 255, drawn) * 255, expected)


@pytest.mark.parametrize(
    ("magnitude", "bits", "threshold"), [(0, 8, 255), (3, 8, 229.5), (4, 7, 221), (15, 6, 127.5), (30, 4, 0)]
)
def test_bits_and_thresholds_of_other_magnitudes(magnitude, bits, threshold):
    augment = RandAugment(NONE, num_operations=2, magnitude=magnitude)
    drawn = augment.sample(6, SHAPE, generator())
    drawn.values["operations"][:] = torch.tensor([RAND_OPERATIONS.index(name) for name in ("posterize", "solarize")])
    coarse = pixels() // 2 ** (8 - bits) * 2 ** (8 - bits)
    expected = torch.where(coarse < threshold, coarse, 255 - coarse)
    torch.testing.assert_close(augment.apply(pixels() / 255, drawn) * 255, expected)


def test_operations_follow_each_other():
    augment = RandAugment(NONE, num_operations=3, magnitude=20)
    drawn = augment.sample(6, SHAPE, generator(4))
    single = RandAugment(NONE, num_operations=1, magnitude=20)
    found = pixels() / 255
    for turn in range(3):
        one = {name: value[:, turn : turn + 1] for name, value in drawn.values.items()}
        found = single.apply(found, type(drawn)("rand", SHAPE, one))
    torch.testing.assert_close(augment.apply(pixels() / 255, drawn), found)


def test_a_seed_decides():
    augment, images = RandAugment(NONE), pixels() / 255
    assert torch.equal(augment(images, generator(1)), augment(images, generator(1)))
    assert not torch.equal(augment(images, generator(1)), augment(images, generator(2)))
    assert torch.equal(images, pixels() / 255)
    before = torch.get_rng_state()
    augment(images, generator(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_shared_draw_fits_any_number_of_images():
    augment, images = RandAugment(NONE), pixels() / 255
    for seed in range(8):
        drawn = augment.sample(6, SHAPE, generator(seed), shared=True)
        assert drawn.num_images is None
        assert torch.equal(augment.apply(images, drawn)[2:4], augment.apply(images[2:4], drawn))


def test_part_of_a_draw_is_for_part_of_the_images():
    augment, images = RandAugment(NONE), pixels() / 255
    drawn = augment.sample(6, SHAPE, generator())
    assert torch.equal(augment.apply(images, drawn)[2:5], augment.apply(images[2:5], drawn[2:5]))
    with pytest.raises(DistailError, match="drawn for 6 images, but there are 4"):
        augment.apply(images[:4], drawn)


@pytest.mark.parametrize("kind", ["none", "normalize", "zca"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sees_pixels_behind_any_preprocessing(kind, channels):
    train = tiny_images((9, 4), (channels, 8, 8))
    fitted = fit_preprocessing(train, kind)
    found = RandAugment(fitted)(fitted.apply(train.images), generator(5))
    plain = RandAugment(Preprocessing("none", (channels, 8, 8)))(train.images.float() / 255, generator(5))
    torch.testing.assert_close(fitted.invert(found), plain, atol=1e-4, rtol=0)


def test_learned_images_outside_the_range_of_pixels_are_limited():
    wild = pixels() / 100 - 0.5
    found = RandAugment(NONE, magnitude=0)(wild, generator())
    assert 0 <= found.min() <= found.max() <= 1
    torch.testing.assert_close((found * 255).round() / 255, found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_type_stays(dtype):
    assert RandAugment(NONE)((pixels() / 255).to(dtype), generator()).dtype is dtype


def test_images_that_are_learned_are_refused():
    learned = (pixels() / 255).requires_grad_()
    with pytest.raises(DistailError, match=r"no gradients.*Leave it out"):
        RandAugment(NONE)(learned, generator())
    with torch.no_grad():
        RandAugment(NONE)(learned, generator())


# As part of a strategy


@pytest.mark.parametrize(("written", "expected"), [("rand", (2, 9)), ("rand-1-30", (1, 30)), ("rand-2-9", (2, 9))])
def test_how_it_is_written(written, expected):
    part, crop, _ = DSAChain(f"{written} + resized+flip", preprocessing=NONE).parts
    assert (part.num_operations, part.magnitude) == expected
    assert crop.operations == ("resized",)


def test_its_place_in_a_chain_is_kept():
    images, source = pixels() / 255, generator(3)
    expected = DSA("flip")(RandAugment(NONE)(DSA("resized")(images, source), source), source)
    assert torch.equal(DSAChain("resized+rand+flip", preprocessing=NONE)(images, generator(3)), expected)


def test_an_empty_batch_comes_back_without_a_draw():
    source = generator()
    assert len(DSAChain("rand+flip", preprocessing=NONE)(pixels()[:0], source)) == 0
    assert torch.equal(source.get_state(), generator().get_state())


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("rand-0-9", r"'rand-0-9' must apply at least one operation.*Write 'rand-2-9'"),
        ("rand-2-31", r"magnitude in 0\.\.30"),
        ("rand-2", r"'rand-2' asks for RandAugment, which stands alone.*'rand-2-9'"),
        ("rand_flip", r"'rand_flip' asks for RandAugment, which stands alone between '\+'"),
        ("rand-two-9+flip", "asks for RandAugment"),
        ("random", "Unknown augmentation 'random'"),
    ],
)
def test_other_forms_are_refused(strategy, message):
    with pytest.raises(DistailError, match=message):
        DSAChain(strategy, preprocessing=NONE)


def test_pixels_must_be_known():
    with pytest.raises(DistailError, match="how these images were made of pixels is not known"):
        DSAChain("rand+flip")


@pytest.mark.parametrize("augmentation", [DSA, StackedDSA])
@pytest.mark.parametrize("strategy", ["rand", "rand-2-9", "rand+flip", "color_rand"])
def test_what_learns_images_takes_none_of_it(augmentation, strategy):
    with pytest.raises(DistailError, match=r"no gradients on\. Choose from color, crop"):
        augmentation(strategy)
