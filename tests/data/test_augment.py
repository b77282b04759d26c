import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.geometry import hflip, translate
from kornia.geometry.transform import rotate as kornia_rotate
from kornia.geometry.transform import scale as kornia_scale

from distail.data.augment import DSA, DSA_OPERATIONS, DSAParameters
from distail.errors import DistailError
from tests.reference import dsa as reference

SHAPE = (3, 12, 15)


def images(n: int = 5, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *shape, dtype=torch.float64, generator=generator(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(operation: str, n: int = 5, *, shape=SHAPE, seed: int = 0, shared: bool = False) -> DSAParameters:
    return DSA(operation).sample(n, shape, generator(seed), shared=shared)


def plain(image: torch.Tensor, parameters: DSAParameters, i: int) -> torch.Tensor:
    """What the reference makes of one image with the i-th parameters."""
    values = {name: tensor[i].item() for name, tensor in parameters.values.items()}
    operation, (_, height, width) = parameters.operation, parameters.image_shape
    if operation == "cutout":
        return reference.cutout(image, **values, tall=int(0.5 * height + 0.5), wide=int(0.5 * width + 0.5))
    if operation == "flip":
        return reference.flip(image, values["flip"])
    return {"color": reference.color, "crop": reference.crop}[operation](image, **values)


@pytest.mark.parametrize("operation", ["color", "crop", "cutout", "flip"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [SHAPE, (1, 9, 8), (3, 32, 32)])
def test_equals_the_plain_rendering(operation, shared, shape):
    batch = images(4, shape)
    for seed in range(3):
        parameters = draw(operation, 4, shape=shape, seed=seed, shared=shared)
        found = DSA(operation).apply(batch, parameters)
        expected = torch.stack([plain(x, parameters, 0 if shared else i) for i, x in enumerate(batch)])
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("shared", [False, True])
def test_flip_equals_kornia(shared):
    parameters = draw("flip", 20, shared=shared)
    batch = images(20)
    expected = torch.where(parameters.values["flip"][:, None, None, None], hflip(batch), batch)
    assert torch.equal(DSA("flip").apply(batch, parameters), expected)


@pytest.mark.parametrize("shared", [False, True])
def test_crop_equals_kornia_translation(shared):
    parameters = draw("crop", shared=shared)
    shift = -torch.stack([parameters.values["right"], parameters.values["down"]], 1).double().expand(5, -1)
    expected = translate(images(), shift, mode="bilinear", padding_mode="zeros", align_corners=True)
    torch.testing.assert_close(DSA("crop").apply(images(), parameters), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shared", [False, True])
def test_rotate_equals_kornia(shared):
    parameters = draw("rotate", shared=shared)
    degrees = torch.rad2deg(parameters.values["radians"].double()).expand(5)
    expected = kornia_rotate(images(), degrees, mode="bilinear", padding_mode="zeros", align_corners=True)
    torch.testing.assert_close(DSA("rotate").apply(images(), parameters), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shared", [False, True])
def test_scale_equals_kornia(shared):
    parameters = draw("scale", shared=shared)
    # DSA's factor is that of the sampling grid, the inverse of what happens to the picture.
    zoom = 1 / torch.stack([parameters.values["x"], parameters.values["y"]], 1).double().expand(5, -1)
    expected = kornia_scale(images(), zoom, mode="bilinear", padding_mode="zeros", align_corners=True)
    torch.testing.assert_close(DSA("scale").apply(images(), parameters), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("operation", DSA_OPERATIONS)
@pytest.mark.parametrize("shared", [False, True])
def test_gradient_equals_finite_differences(operation, shared):
    shape = (2, 5, 6)
    parameters = draw(operation, 2, shape=shape, shared=shared)
    batch = images(2, shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: DSA(operation).apply(x, parameters), (batch,), eps=1e-5, atol=1e-6)


@pytest.mark.parametrize("operation", DSA_OPERATIONS)
def test_one_shared_draw_fits_real_and_synthetic_batches(operation):
    augment = DSA(operation)
    parameters = draw(operation, 7, shared=True)
    assert parameters.num_images is None
    real = images(20)
    whole = augment.apply(real, parameters)
    torch.testing.assert_close(augment.apply(real[:3], parameters), whole[:3], atol=1e-12, rtol=0)
    # The same values written out for each image give the same result: the two code paths agree.
    repeated = {name: tensor.expand(20) for name, tensor in parameters.values.items()}
    written_out = DSAParameters(operation, SHAPE, repeated)
    torch.testing.assert_close(augment.apply(real, written_out), whole, atol=1e-12, rtol=0)


@pytest.mark.parametrize("operation", DSA_OPERATIONS)
def test_images_get_parameters_of_their_own(operation):
    parameters = draw(operation, 30)
    assert parameters.num_images == 30
    assert all(len(tensor.unique()) > 1 for tensor in parameters.values.values())
    batch = images(30)
    found = DSA(operation).apply(batch, parameters)
    for i in (0, 29):
        alone = DSAParameters(operation, SHAPE, {k: v[i : i + 1] for k, v in parameters.values.items()})
        torch.testing.assert_close(DSA(operation).apply(batch[i : i + 1], alone)[0], found[i], atol=1e-12, rtol=0)


def test_every_operation_is_drawn_equally_often():
    g = generator(1)
    draws = 900
    counts = Counter(DSA().sample(1, SHAPE, g).operation for _ in range(draws))
    assert set(counts) == set(DSA_OPERATIONS) - {"resized"}  # which is newer than the paper
    expected, deviation = draws / 6, math.sqrt(draws * (1 / 6) * (5 / 6))
    assert all(abs(count - expected) < 4 * deviation for count in counts.values())


def test_a_repeated_name_counts_twice():
    g = generator(2)
    counts = Counter(DSA("flip_flip_crop").sample(1, SHAPE, g).operation for _ in range(900))
    assert abs(counts["flip"] - 600) < 4 * math.sqrt(900 * 2 / 9)


@pytest.mark.parametrize(
    ("operation", "name", "lowest", "highest"),
    [
        ("color", "brightness", -0.5, 0.5),
        ("color", "saturation", 0.0, 2.0),
        ("color", "contrast", 0.5, 1.5),
        ("scale", "x", 1 / 1.2, 1.2),
        ("scale", "y", 1 / 1.2, 1.2),
        ("rotate", "radians", -math.pi / 12, math.pi / 12),
    ],
)
def test_real_parameters_are_uniform_over_their_range(operation, name, lowest, highest):
    values = draw(operation, 20000).values[name].double()
    width = highest - lowest
    assert lowest <= values.min() < lowest + 0.001 * width
    assert highest - 0.001 * width < values.max() <= highest + 1e-6
    shares = torch.histc((values - lowest) / width, 10, 0, 1) / len(values)
    torch.testing.assert_close(shares, torch.full((10,), 0.1).double(), atol=0.01, rtol=0)


def test_positions_cover_exactly_the_papers_ranges():
    shape = (3, 32, 32)
    crop = draw("crop", 20000, shape=shape).values
    assert crop["down"].unique().tolist() == crop["right"].unique().tolist() == list(range(-4, 5))
    cutout = draw("cutout", 20000, shape=shape).values
    # A centre in 0..32 between pixels, and 8 pixels on either side of it.
    assert cutout["top"].unique().tolist() == cutout["left"].unique().tolist() == list(range(-8, 25))
    odd = draw("cutout", 20000, shape=(3, 10, 14)).values  # sides 5 and 7
    assert odd["top"].unique().tolist() == list(range(-2, 8))
    assert odd["left"].unique().tolist() == list(range(-3, 11))
    assert abs(draw("flip", 20000).values["flip"].double().mean() - 0.5) < 0.015


def test_cutout_zeroes_a_square_of_half_the_side():
    ones = torch.ones(2000, 1, 32, 32)
    zeros = (DSA("cutout")(ones, generator()) == 0).sum((1, 2, 3))
    assert zeros.max() == 16 * 16
    assert zeros.min() >= 8 * 8  # in a corner only a quarter of it lies inside


@settings(max_examples=25, deadline=None)
@given(
    operation=st.sampled_from(DSA_OPERATIONS),
    n=st.integers(1, 4),
    channels=st.sampled_from([1, 3]),
    height=st.integers(8, 20),
    width=st.integers(8, 20),
    seed=st.integers(0, 999),
    shared=st.booleans(),
)
def test_shape_type_and_input_are_kept(operation, n, channels, height, width, seed, shared):
    batch = images(n, (channels, height, width), seed)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        before = batch.to(dtype)
        given_images = before.clone()
        found = DSA(operation)(given_images, generator(seed), shared=shared)
        assert found.shape == batch.shape
        assert found.dtype == dtype
        assert found.isfinite().all()
        assert torch.equal(given_images, before)


def test_same_seed_same_bits_and_global_randomness_untouched():
    before = torch.random.get_rng_state()
    batch = images()
    for seed in range(8):
        assert torch.equal(DSA()(batch, generator(seed)), DSA()(batch, generator(seed)))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_one_draw_applied_twice_is_the_same():
    parameters = DSA().sample(5, SHAPE, generator(3))
    assert torch.equal(DSA().apply(images(), parameters), DSA().apply(images(), parameters))


@pytest.mark.parametrize("strategy", ["", "none"])
def test_no_strategy_is_the_identity(strategy):
    g = generator()
    state = g.get_state()
    batch = images()
    assert DSA(strategy)(batch, g) is batch
    assert torch.equal(g.get_state(), state)
    assert DSA(strategy).apply(images(9), DSA(strategy).sample(4, SHAPE, g)).shape[0] == 9


def test_ranges_of_zero_width_change_nothing():
    for operation in ("crop", "cutout", "flip", "scale", "rotate"):
        found = DSA(operation, crop=0.0, cutout=0.0, flip=0.0, scale=1.0, rotate=0.0)(images(), generator())
        torch.testing.assert_close(found, images(), atol=1e-10, rtol=0)


def test_empty_batch_comes_back():
    assert DSA()(images(1)[:0], generator()).shape == (0, *SHAPE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": "color_cutot"}, "Unknown augmentation 'cutot'.*Did you mean 'cutout'"),
        ({"strategy": "none_flip"}, "Unknown augmentation 'none'"),
        ({"strategy": "flip_"}, "Unknown augmentation ''"),
        ({"crop": 1.5}, "'crop' must be in 0..1, not 1.5"),
        ({"scale": 0.9}, "'scale' must be a number of at least 1, not 0.9"),
        ({"rotate": math.nan}, "'rotate' must be in 0..180"),
        ({"brightness": math.inf}, "'brightness' must be"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(DistailError, match=message):
        DSA(**arguments)


def test_a_draw_for_other_images_is_refused():
    with pytest.raises(DistailError, match=r"\(3, 12, 15\).*\(3, 12, 12\)"):
        DSA("crop").apply(images(5, (3, 12, 12)), draw("crop"))
    with pytest.raises(DistailError, match=r"5 images, but there are 6.*shared=True"):
        DSA("crop").apply(images(6), draw("crop"))
    with pytest.raises(DistailError, match="at least one image"):
        DSA("crop").sample(0, SHAPE, generator())


# Random resized crops


def rectangles(count: int = 20000, smallest: float = 0.08, shape=SHAPE) -> dict[str, torch.Tensor]:
    values = DSA("resized", smallest_crop=smallest).sample(count, shape, generator(4)).values
    return {name: tensor.double() for name, tensor in values.items()}


@pytest.mark.parametrize("smallest", [0.08, 0.5, 1.0])
def test_areas_are_uniform_and_rectangles_lie_inside(smallest):
    drawn = rectangles(smallest=smallest)
    for side, start in (("tall", "top"), ("wide", "left")):
        assert drawn[side].max() <= 1
        assert drawn[start].min() >= 0
        assert (drawn[start] + drawn[side]).max() <= 1 + 1e-6
    area = drawn["tall"] * drawn["wide"]
    assert area.min() > smallest - 1e-5
    if smallest < 1:
        shares = torch.histc((area - smallest) / (1 - smallest), 10, 0, 1) / len(area)
        torch.testing.assert_close(shares, torch.full((10,), 0.1).double(), atol=0.015, rtol=0)


def test_aspect_ratios_have_uniform_logarithms_where_they_fit():
    drawn = rectangles()
    logarithm = (drawn["wide"] / drawn["tall"]).log() / math.log(4 / 3)
    assert logarithm.abs().max() <= 1 + 1e-5
    fits = drawn["tall"] * drawn["wide"] < 0.74  # a rectangle of 4/3 and this area lies inside
    shares = torch.histc(logarithm[fits], 8, -1, 1) / fits.sum()
    torch.testing.assert_close(shares, torch.full((8,), 1 / 8).double(), atol=0.015, rtol=0)


def test_places_are_uniform():
    drawn = rectangles()
    for start, side in (("top", "tall"), ("left", "wide")):
        free = 1 - drawn[side] > 0.05
        place = drawn[start][free] / (1 - drawn[side][free])
        torch.testing.assert_close(place.mean(), torch.tensor(0.5).double(), atol=0.01, rtol=0)
        assert place.min() < 0.01
        assert place.max() > 0.99


def cut(tall: float, wide: float, top: float, left: float, shape=SHAPE) -> DSAParameters:
    values = {"tall": tall, "wide": wide, "top": top, "left": left}
    return DSAParameters(
        "resized", shape, {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}
    )


def test_a_rectangle_of_whole_pixels_is_enlarged_as_torch_does():
    batch = images(3, (3, 13, 17))
    # Rows 2 to 8 and columns 4 to 12: of 12 and 16 steps between pixels, 6 and 8.
    found = DSA("resized").apply(batch, cut(6 / 12, 8 / 16, 2 / 12, 4 / 16, (3, 13, 17)))
    inside = batch[:, :, 2:9, 4:13]
    expected = torch.nn.functional.interpolate(inside, size=(13, 17), mode="bilinear", align_corners=True)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def test_the_whole_image_is_itself():
    torch.testing.assert_close(DSA("resized").apply(images(), cut(1, 1, 0, 0)), images(), atol=1e-12, rtol=0)
    found = DSA("resized", smallest_crop=1.0)(images(), generator())
    torch.testing.assert_close(found, images(), atol=1e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), height=st.integers(8, 20), width=st.integers(8, 20), shared=st.booleans())
def test_enlarging_never_looks_outside_the_image(seed, height, width, shared):
    """A picture without zeros stays one, and no value leaves the range of the picture's."""
    batch = images(4, (2, height, width), seed) + 10
    found = DSA("resized")(batch, generator(seed), shared=shared)
    assert found.min() >= batch.min() - 1e-4
    assert found.max() <= batch.max() + 1e-4


def test_shapes_may_stay_as_they_are():
    drawn = DSA("resized", stretch=1.0).sample(50, SHAPE, generator()).values
    assert torch.equal(drawn["tall"], drawn["wide"])
    with pytest.raises(DistailError, match="stretch"):
        DSA("resized", stretch=0.5)


def test_a_draw_can_be_applied_to_some_of_its_images():
    batch, picked = images(6), torch.tensor([4, 1])
    for operation in DSA_OPERATIONS:
        drawn = DSA(operation).sample(6, SHAPE, generator())
        whole = DSA(operation).apply(batch, drawn)
        assert torch.equal(DSA(operation).apply(batch[picked], drawn[picked]), whole[picked])


def test_no_default_enlarges():
    assert "resized" not in DSA().operations
