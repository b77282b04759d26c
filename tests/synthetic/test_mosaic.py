import pytest
import torch

from distail.data.preprocess import fit_preprocessing
from distail.errors import DistailError
from distail.synthetic.mosaic import compose, decode, decode_preprocessed, require_divisible
from tests.methods.tiny import tiny_images
from tests.reference import mosaic as reference


def images_of(count: int, height: int = 8, width: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("cells", [2, 4])
def test_decoding_is_what_the_plain_rendering_does(cells):
    images = images_of(2)
    expected = torch.stack([cell for image in images for cell in reference.decode(image, cells)])
    torch.testing.assert_close(decode(images, cells), expected, rtol=0, atol=1e-12)


def test_one_cell_is_no_mosaic():
    images = images_of(2)
    assert decode(images, 1) is images
    assert torch.equal(compose(images, 1), images)


@pytest.mark.parametrize("cells", [2, 4])
def test_composing_puts_reduced_images_row_by_row(cells):
    images = images_of(2 * cells**2)
    made = compose(images, cells)
    assert made.shape == (2, 3, 8, 12)
    for number, image in enumerate(images):
        mosaic, place = divmod(number, cells**2)
        found = reference.cell(made[mosaic], cells, *divmod(place, cells))
        means = image.unfold(1, cells, cells).unfold(2, cells, cells).mean((3, 4))
        torch.testing.assert_close(found, means, rtol=0, atol=1e-12)


def test_flat_images_survive_both_ways():
    colours = torch.rand(8, 3, 1, 1, dtype=torch.float64).expand(-1, -1, 8, 12)
    torch.testing.assert_close(decode(compose(colours, 2), 2), colours, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["none", "normalize", "zca"])
def test_cells_are_cut_and_enlarged_as_pixels(kind):
    preprocessing = fit_preprocessing(tiny_images((9, 5), (3, 8, 12)), kind)
    pixels = images_of(2)
    found = decode_preprocessed(preprocessing.apply(pixels), 2, preprocessing)
    torch.testing.assert_close(preprocessing.invert(found), decode(pixels, 2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["normalize", "zca"])
def test_decoding_is_differentiable(kind):
    preprocessing = fit_preprocessing(tiny_images((9, 5)), kind)
    images = images_of(1, 8, 8)[:, :, :8, :8].requires_grad_()
    torch.autograd.gradcheck(lambda x: decode_preprocessed(x, 2, preprocessing).sum((2, 3)), images, fast_mode=True)


def test_sides_that_do_not_come_out_even_are_a_clear_error():
    require_divisible((3, 8, 12), 4)
    require_divisible((3, 7, 11), 1)
    with pytest.raises(DistailError, match=r"2x2 cells .* images are 11x8 .*--image-size 10.*mosaic=1"):
        require_divisible((3, 11, 8), 2)
