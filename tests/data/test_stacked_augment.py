import pytest
import torch

from distail.data.augment import DSA
from distail.data.stacked_augment import StackedDSA
from distail.errors import DistailError

SHAPE = (3, 8, 8)


def names(strategy: str) -> list[str]:
    return [stage.strategy for stage in StackedDSA(strategy).stages]


@pytest.mark.parametrize(
    ("strategy", "stages"),
    [
        ("color_crop_cutout", ["color", "crop", "cutout"]),
        ("cutout_rotate_flip_crop_color", ["flip", "color", "rotate_crop", "cutout"]),
        ("scale", ["scale"]),
        ("none", []),
        ("", []),
    ],
)
def test_stages_in_order(strategy, stages):
    assert names(strategy) == stages


def test_applies_one_after_the_other():
    images = torch.randn(4, *SHAPE, dtype=torch.float64)
    stacked = StackedDSA("color_crop_cutout")
    parameters = stacked.sample(4, SHAPE, torch.Generator().manual_seed(3), shared=True)
    expected = images
    for name, drawn in zip(("color", "crop", "cutout"), parameters, strict=True):
        assert drawn.operation == name
        expected = DSA(name).apply(expected, drawn)
    assert torch.equal(stacked.apply(images, parameters), expected)
    assert not torch.equal(expected, images)


def test_without_an_operation():
    assert StackedDSA("color_crop_cutout").without("cutout") == StackedDSA("color_crop")
    assert StackedDSA("cutout").without("cutout").stages == ()
    images = torch.randn(2, *SHAPE)
    assert StackedDSA("none").apply(images, ()) is images


def test_an_unknown_operation_is_a_clear_error():
    with pytest.raises(DistailError, match=r"Unknown augmentation 'colour'.*'color'"):
        StackedDSA("colour_crop")
