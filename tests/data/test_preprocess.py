import inspect
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.enhance import ZCAWhitening

from distail.data.image_set import ImageSet
from distail.data.preprocess import (
    _TENSOR_NAMES,
    ZCA_EPS,
    ZCA_KEEP_FRACTION,
    Preprocessing,
    fit_preprocessing,
)
from distail.data.statistics import _exact_gram
from distail.errors import DistailError
from tests.reference import zca

KINDS = tuple(_TENSOR_NAMES)


def image_set(images: torch.Tensor) -> ImageSet:
    return ImageSet(images, torch.zeros(len(images), dtype=torch.int64), ("cat", "dog"))


def random_images(n: int, c: int = 3, h: int = 8, w: int = 8, *, seed: int = 0, constant: bool = False) -> torch.Tensor:
    """Smooth random pictures with unlike channels; the last channel is constant if asked."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, c, 3, 3, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (h, w), mode="bilinear", align_corners=True)
    noise = 0.1 * torch.rand(n, c, h, w, generator=generator)
    images = ((0.9 * smooth + noise) * torch.linspace(1.0, 0.4, c)[:, None, None] * 255).to(torch.uint8)
    if constant:
        images[:, -1] = 77
    return images


cases = st.fixed_dictionaries(
    {
        "n": st.integers(1, 40),
        "c": st.sampled_from([1, 3]),
        "h": st.integers(8, 10),
        "w": st.integers(8, 11),
        "seed": st.integers(0, 99),
        "constant": st.booleans(),
    }
)
few = settings(max_examples=20, deadline=None)


@few
@given(case=cases, kind=st.sampled_from(KINDS))
def test_invert_undoes_apply(case, kind):
    images = random_images(**case)
    fitted = fit_preprocessing(image_set(images), kind)
    for pixels, tolerance in ((images.double() / 255, 1e-5), (images, 2e-5)):
        restored = fitted.invert(fitted.apply(pixels))
        torch.testing.assert_close(restored.double(), images.double() / 255, atol=tolerance, rtol=0)


@few
@given(case=cases)
def test_zca_equals_the_whole_matrix_within_the_documented_tolerance(case):
    images = random_images(**case)
    pixels = images.double() / 255
    whitening = zca.fit(pixels)
    expected = torch.stack([zca.whiten(image, whitening) for image in pixels])
    found = fit_preprocessing(image_set(images), "zca").apply(pixels)
    assert (found - expected).norm() <= 0.5 * ZCA_KEEP_FRACTION * expected.norm() + 1e-5


def test_zca_equals_the_whole_matrix_where_images_outnumber_values():
    images = random_images(150, 1, seed=3)
    pixels = images.double() / 255
    whitening = zca.fit(pixels)
    fitted = fit_preprocessing(image_set(images), "zca")
    expected = torch.stack([zca.whiten(image, whitening) for image in pixels])
    torch.testing.assert_close(fitted.apply(pixels), expected, atol=1e-3, rtol=0)
    inverse = fitted.invert(expected).flatten(1)
    torch.testing.assert_close(inverse, expected.flatten(1) @ whitening.inverse + whitening.mean, atol=1e-4, rtol=0)


@pytest.mark.parametrize("n", [30, 120])
def test_zca_equals_kornia(n):
    images = random_images(n, 1, seed=n)
    pixels = images.double() / 255
    oracle = ZCAWhitening(eps=ZCA_EPS, compute_inv=True).fit(pixels)
    found = fit_preprocessing(image_set(images), "zca").apply(pixels)
    expected = oracle(pixels)
    assert (found - expected).norm() <= 0.5 * ZCA_KEEP_FRACTION * expected.norm()


@pytest.mark.parametrize("n", [40, 400])  # fewer and more images than values
def test_zca_whitens(n):
    images = random_images(n, 1)
    fitted = fit_preprocessing(image_set(images), "zca")
    assert fitted.components is not None
    assert fitted.variances is not None
    whitened = fitted.apply(images.double() / 255).flatten(1)
    torch.testing.assert_close(whitened.mean(0), torch.zeros(64).double(), atol=1e-6, rtol=0)
    # A direction of variance S keeps S / (S + eps): near 1 where it dominates eps.
    in_components = torch.cov((whitened @ fitted.components.double().T).T)
    expected = torch.diag(fitted.variances / (fitted.variances + ZCA_EPS)).double()
    torch.testing.assert_close(in_components, expected, atol=1e-5, rtol=0)
    assert in_components[0, 0] > 0.7


@few
@given(case=cases)
def test_zca_components_are_orthonormal_and_significant(case):
    fitted = fit_preprocessing(image_set(random_images(**case)), "zca")
    assert fitted.components is not None
    assert fitted.variances is not None
    count = len(fitted.variances)
    assert count <= case["n"] - 1
    torch.testing.assert_close(fitted.components @ fitted.components.T, torch.eye(count), atol=1e-5, rtol=0)
    assert (fitted.variances > ZCA_KEEP_FRACTION * ZCA_EPS).all()
    assert (fitted.variances.diff() <= 0).all()


def test_gram_is_exact():
    # Extremes of the byte range everywhere, over more columns than one chunk holds.
    matrix = torch.zeros(3, 2500, dtype=torch.uint8)
    matrix[1] = 255
    matrix[2] = torch.arange(2500) % 256
    expected = (matrix.long() - 128) @ (matrix.long() - 128).T
    assert torch.equal(_exact_gram(matrix), expected.double())


def test_normalize_gives_mean_zero_and_deviation_one():
    images = random_images(50)
    inputs = fit_preprocessing(image_set(images), "normalize").apply(images.double() / 255)
    torch.testing.assert_close(inputs.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(inputs.std((0, 2, 3), unbiased=False), torch.ones(3).double(), atol=1e-6, rtol=0)


def test_normalize_leaves_a_constant_channel_its_scale():
    images = random_images(5, constant=True)
    fitted = fit_preprocessing(image_set(images), "normalize")
    assert fitted.std is not None
    assert fitted.std[-1] == 1
    torch.testing.assert_close(fitted.apply(images)[:, -1], torch.zeros(5, 8, 8), atol=1e-6, rtol=0)


def test_none_only_scales():
    images = random_images(3)
    fitted = fit_preprocessing(image_set(images), "none")
    assert torch.equal(fitted.apply(images), images.float() / 255)
    assert fitted.num_bytes == 0


@pytest.mark.parametrize("kind", KINDS)
def test_types(kind):
    images = random_images(6)
    fitted = fit_preprocessing(image_set(images), kind)
    for dtype, expected in (
        (torch.uint8, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
    ):
        pixels = images if dtype == torch.uint8 else (images / 255).to(dtype)
        assert fitted.apply(pixels).dtype == expected
    assert fitted.apply(images[:0]).shape == images[:0].shape


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_change_nothing(kind, monkeypatch):
    images = random_images(23)
    whole = fit_preprocessing(image_set(images), kind)
    pixels = (images.double() / 255).requires_grad_()
    expected = whole.apply(pixels)
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), pixels)
    monkeypatch.setattr("distail.data.statistics._CHUNK_VALUES", 5 * 3 * 8 * 8)
    fitted = fit_preprocessing(image_set(images), kind)
    assert all(torch.equal(part, whole.to_tensors()[name]) for name, part in fitted.to_tensors().items())
    found = fitted.apply(pixels)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    (gradient,) = torch.autograd.grad(found.square().sum(), pixels)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_survive_a_round_trip(kind):
    images = random_images(20)
    fitted = fit_preprocessing(image_set(images), kind)
    header = json.loads(json.dumps(fitted.header()))
    rebuilt = Preprocessing.from_parts(header, fitted.to_tensors())
    assert torch.equal(rebuilt.apply(images), fitted.apply(images))
    assert rebuilt.header() == fitted.header()
    assert rebuilt.image_shape == (3, 8, 8)
    assert rebuilt.num_bytes == sum(t.numel() * 4 for t in fitted.to_tensors().values())


def zca_parts():
    fitted = fit_preprocessing(image_set(random_images(20)), "zca")
    return fitted.header(), fitted.to_tensors()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t: h.update(kind="zcaa"), "Did you mean 'zca'"),
        (lambda h, t: h.pop("kind"), "unknown kind None"),
        (lambda h, t: h.update(image_shape=[3, 8]), "three positive integers"),
        (lambda h, t: h.update(image_shape=[3, 8, 9]), "'mean' has shape"),
        (lambda h, t: h.update(eps=0), "eps must be positive"),
        (lambda h, t: h.update(eps="small"), "eps must be a number"),
        (lambda h, t: t.pop("variances"), "needs tensors"),
        (lambda h, t: t.update(std=torch.ones(3)), "needs tensors"),
        (lambda h, t: t.update(mean=torch.zeros(5)), "'mean' has shape"),
        (lambda h, t: t.update(mean=t["mean"].long()), "floating point"),
        (lambda h, t: t.update(mean=t["mean"][None]), "floating point with 1 axes"),
        (lambda h, t: t.update(mean=t["mean"] / 0), "not finite"),
        (lambda h, t: t.update(variances=-t["variances"]), "negative"),
    ],
)
def test_inconsistent_parts_are_refused(change, message):
    header, tensors = zca_parts()
    change(header, tensors)
    with pytest.raises(DistailError, match=message):
        Preprocessing.from_parts(header, tensors)


def test_impossible_deviation_and_missing_tensor_are_refused():
    header = {"kind": "normalize", "image_shape": [1, 8, 8]}
    with pytest.raises(DistailError, match="must be positive"):
        Preprocessing.from_parts(header, {"mean": torch.zeros(1), "std": torch.zeros(1)})
    with pytest.raises(DistailError, match="needs exactly"):
        Preprocessing("normalize", (1, 8, 8), mean=torch.zeros(1))


@pytest.mark.parametrize("kind", KINDS)
def test_another_shape_is_refused(kind):
    fitted = fit_preprocessing(image_set(random_images(4)), kind)
    with pytest.raises(DistailError, match=r"\(3, 8, 8\).*\(3, 8, 9\).*[Rr]esize"):
        fitted.apply(random_images(4, w=9))
    with pytest.raises(DistailError, match="Resize"):
        fitted.invert(torch.zeros(1, 1, 8, 8))


def test_unknown_kind_and_too_large_a_problem_are_refused(monkeypatch):
    images = image_set(random_images(30))
    with pytest.raises(DistailError, match="Did you mean 'normalize'"):
        inspect.unwrap(fit_preprocessing)(images, "normalise")  # past the tests' type check
    monkeypatch.setattr("distail.data.preprocess.ZCA_MAX_SIDE", 29)
    with pytest.raises(DistailError, match=r"30 x 30.*resize to 3 pixels"):
        fit_preprocessing(images, "zca")


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_stay_as_they_were(kind):
    images = random_images(7)
    before = images.clone()
    pixels = images.double() / 255
    fitted = fit_preprocessing(image_set(images), kind)
    fitted.invert(fitted.apply(pixels))
    assert torch.equal(images, before)
    assert torch.equal(pixels, before.double() / 255)
