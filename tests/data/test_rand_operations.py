import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from distail.data.rand_operations import RAND_OPERATIONS, operate

AFFINE = Image.Transform.AFFINE
PILLOW = {
    "identity": lambda image, level: image,
    "shear_x": lambda image, level: image.transform(image.size, AFFINE, (1, level, 0, 0, 1, 0)),
    "shear_y": lambda image, level: image.transform(image.size, AFFINE, (1, 0, 0, level, 1, 0)),
    "translate_x": lambda image, level: image.transform(image.size, AFFINE, (1, 0, -level, 0, 1, 0)),
    "translate_y": lambda image, level: image.transform(image.size, AFFINE, (1, 0, 0, 0, 1, -level)),
    "rotate": lambda image, level: image.rotate(level),
    "brightness": lambda image, level: ImageEnhance.Brightness(image).enhance(1 + level),
    "color": lambda image, level: ImageEnhance.Color(image).enhance(1 + level),
    "contrast": lambda image, level: ImageEnhance.Contrast(image).enhance(1 + level),
    "sharpness": lambda image, level: ImageEnhance.Sharpness(image).enhance(1 + level),
    "posterize": lambda image, level: ImageOps.posterize(image, int(level)),
    "solarize": lambda image, level: ImageOps.solarize(image, level),
    "autocontrast": lambda image, level: ImageOps.autocontrast(image),
    "equalize": lambda image, level: ImageOps.equalize(image),
}
FACTORS = (-0.9, -0.27, 0.27, 0.9, 0.0)
LEVELS = {
    **dict.fromkeys(("shear_x", "shear_y"), (-0.3, -0.09, 0.09, 0.3, 0.0)),
    **dict.fromkeys(("translate_x", "translate_y"), (-6.0, -4.0, 4.0, 13.0, 0.0)),
    "rotate": (-30.0, -9.0, 9.0, 30.0, 0.0),
    **dict.fromkeys(("brightness", "color", "contrast", "sharpness"), FACTORS),
    "posterize": (4.0, 5.0, 7.0, 8.0, 6.0),
    "solarize": (0.0, 178.5, 255.0, 100.0, 40.0),
}
SHAPES = [(3, 32, 32), (1, 32, 32), (3, 13, 20), (1, 8, 8), (3, 2, 5)]


def images(shape: tuple[int, int, int]) -> torch.Tensor:
    """All values in one image, a few in others, and one with a single value."""
    generator = torch.Generator().manual_seed(3)
    whole = torch.rand(5, *shape, generator=generator)
    low, wide = torch.tensor([[0, 256], [60, 100], [150, 80], [100, 3], [77, 1]]).T[:, :, None, None, None]
    return (low + whole * wide).floor()


def operated(name: str, pixels: torch.Tensor, levels: tuple[float, ...]) -> torch.Tensor:
    return operate(pixels, torch.full((len(pixels),), RAND_OPERATIONS.index(name)), torch.tensor(levels))


def with_pillow(name: str, pixels: torch.Tensor, levels: tuple[float, ...]) -> torch.Tensor:
    made = []
    for image, level in zip(pixels, levels, strict=True):
        array = image.permute(1, 2, 0).to(torch.uint8).numpy()
        found = np.asarray(PILLOW[name](Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0]), level))
        made.append(torch.from_numpy(found.reshape(array.shape).astype(np.float32)).permute(2, 0, 1))
    return torch.stack(made)


@pytest.mark.parametrize("name", sorted(set(RAND_OPERATIONS) - {"autocontrast"}))
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_pillow(name, shape):
    levels = LEVELS.get(name, (0.0,) * 5)
    assert torch.equal(operated(name, images(shape), levels), with_pillow(name, images(shape), levels))


@pytest.mark.parametrize("shape", SHAPES)
def test_autocontrast_is_that_of_pillow_but_for_its_rounding(shape):
    """Pillow's floating point falls short of some whole numbers by a little, and rounds down."""
    found, expected = (made("autocontrast", images(shape), (0.0,) * 5) for made in (operated, with_pillow))
    above = found - expected
    assert set(above.unique().tolist()) <= {0.0, 1.0}
    assert above.mean() < 0.03


def test_autocontrast_by_hand():
    pixels = torch.tensor([[[[10.0, 20.0], [77.0, 110.0]], [[5.0, 5.0], [5.0, 5.0]]]])
    assert operated("autocontrast", pixels, (0.0,)).tolist() == [[[[0, 25], [170, 255]], [[5, 5], [5, 5]]]]


def test_equalize_by_hand():
    """510 pixels below the largest value make steps of two."""
    pixels = torch.cat([torch.zeros(200), torch.full((310,), 40.0), torch.full((66,), 90.0)]).view(1, 1, 24, 24)
    found = operated("equalize", pixels, (0.0,))
    assert {(old, new) for old, new in zip(pixels.flatten().tolist(), found.flatten().tolist(), strict=True)} == {
        (0, 0),
        (40, 100),
        (90, 255),
    }


def test_four_channels_are_defined_too():
    pixels = torch.tensor([10.0, 20.0, 30.0, 41.0]).view(1, 4, 1, 1).expand(1, 4, 5, 5)
    assert operated("color", pixels, (-1.0,)).unique().tolist() == [25]
    for name in RAND_OPERATIONS:
        assert operated(name, pixels, LEVELS.get(name, (0.0,))[:1]).shape == pixels.shape


def test_every_image_gets_its_own_operation():
    """Also where operations come in no order, and more than once."""
    order = torch.randperm(28, generator=torch.Generator().manual_seed(0)) % 14
    pixels = images((3, 9, 12))[torch.arange(28) % 5]
    levels = torch.tensor([LEVELS.get(RAND_OPERATIONS[number], (0.0,))[0] for number in order.tolist()])
    before = pixels.clone()
    found = operate(pixels, order, levels)
    assert torch.equal(pixels, before)
    for place, number in enumerate(order.tolist()):
        alone = operated(RAND_OPERATIONS[number], pixels[place : place + 1], (float(levels[place]),))
        assert torch.equal(found[place], alone[0])
