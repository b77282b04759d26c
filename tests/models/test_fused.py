"""The fused block against the plain layers: values, gradients, tangents, and what they do off the usual path."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from inspect import unwrap

import pytest
import torch
from torch import Tensor
from torch.func import jvp
from torch.nn import functional as F

from distail.models import fused

EPS = 1e-5
SHAPES = ((2, 3, 4, 6), (3, 2, 2, 2), (1, 4, 32, 32), (2, 1, 8, 2), (1, 2, 10, 14))
BF16_STEP = 2.0**-8
"""Largest relative rounding error of bfloat16."""

Six = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def plain_block(u: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    centred = u - u.mean((2, 3), keepdim=True)
    normed = centred / torch.sqrt(centred.square().mean((2, 3), keepdim=True) + EPS)
    n, c, h, w = u.shape
    z = torch.relu(normed * gamma.view(-1, 1, 1) + beta.view(-1, 1, 1))
    return z.view(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


def plain_block_with_tangent(
    u: Tensor, du: Tensor, gamma: Tensor, beta: Tensor, dgamma: Tensor, dbeta: Tensor
) -> tuple[Tensor, Tensor]:
    pooled, dpooled = jvp(plain_block, (u, gamma, beta), (du, dgamma, dbeta))
    return pooled, dpooled


def inputs(shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float64, seed: int = 0) -> Six:
    """(u, du, gamma, beta, dgamma, dbeta) with means far from zero; coefficients are never bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    real = torch.float64 if dtype == torch.float64 else torch.float32
    u, du = (torch.randn(shape, generator=generator, dtype=torch.float64).add(0.7).to(dtype) for _ in range(2))
    gamma, beta, dgamma, dbeta = (
        torch.randn(shape[1], generator=generator, dtype=torch.float64).to(real) for _ in range(4)
    )
    tensors = u, du, gamma, beta, dgamma, dbeta
    for tensor in tensors:
        tensor.requires_grad_()
    return tensors


def as_double(tensors: Six) -> Six:
    u, du, gamma, beta, dgamma, dbeta = (tensor.detach().double().requires_grad_() for tensor in tensors)
    return u, du, gamma, beta, dgamma, dbeta


def weighted(*outputs: Tensor) -> Tensor:
    """A scalar that looks at every output differently, with weights that bfloat16 holds exactly."""
    total = outputs[0].new_zeros((), dtype=torch.float64)
    for seed, output in enumerate(outputs):
        weights = torch.randint(-8, 9, output.shape, generator=torch.Generator().manual_seed(seed))
        total = total + (output.double() * weights).sum()
    return total


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_block_and_its_gradients_in_double_precision(shape: tuple[int, int, int, int]) -> None:
    u, _, gamma, beta, _, _ = inputs(shape)
    found, expected = fused.block(u, gamma, beta, EPS), plain_block(u, gamma, beta)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(weighted(expected), (u, gamma, beta))
    for mine, right in zip(torch.autograd.grad(weighted(found), (u, gamma, beta)), wanted, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_tangent_and_its_gradients_are_those_of_double_backward(shape: tuple[int, int, int, int]) -> None:
    six = inputs(shape)
    found, expected = fused.block_with_tangent(*six, EPS), plain_block_with_tangent(*six)
    for mine, right in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-11, atol=1e-11)
    assert expected[1].abs().max() > 0.01
    wanted = torch.autograd.grad(weighted(*expected), six)
    for mine, right in zip(torch.autograd.grad(weighted(*found), six), wanted, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("shape", [(2, 2, 4, 4), (1, 2, 2, 6)], ids=str)
def test_gradients_pass_the_check_by_differences(shape: tuple[int, int, int, int]) -> None:
    six = inputs(shape, seed=3)
    u, _, gamma, beta, _, _ = six
    assert torch.autograd.gradcheck(lambda *three: fused.block(*three, EPS), (u, gamma, beta))
    assert torch.autograd.gradcheck(lambda *all_six: fused.block_with_tangent(*all_six, EPS), six)


@pytest.mark.parametrize(
    ("dtype", "step"), [(torch.float32, 2.0**-23), (torch.bfloat16, BF16_STEP)], ids=["float32", "bfloat16"]
)
def test_lower_precisions_round_and_no_more(dtype: torch.dtype, step: float) -> None:
    six = inputs((3, 5, 16, 16), dtype, seed=1)
    exact = as_double(six)
    found, expected = fused.block_with_tangent(*six, EPS), fused.block_with_tangent(*exact, EPS)
    alone = fused.block(six[0], six[2], six[3], EPS)
    assert all(output.dtype == dtype for output in (*found, alone))
    # One rounding at the end; sums are float32, whose own errors are far below those of bfloat16.
    slack = 1 if dtype == torch.bfloat16 else 64
    for mine, right in ((alone, expected[0]), *zip(found, expected, strict=True)):
        torch.testing.assert_close(mine.double(), right, rtol=1.01 * slack * step, atol=1e-5)
    mine, right = torch.autograd.grad(weighted(*found), six), torch.autograd.grad(weighted(*expected), exact)
    for tensor, one, other in zip(six, mine, right, strict=True):
        assert one.dtype == tensor.dtype
        torch.testing.assert_close(one.double(), other, rtol=1.01 * slack * step, atol=2e-5 * float(other.abs().max()))


def test_bfloat16_rounds_to_the_nearest_like_torch() -> None:
    u, _, gamma, beta, _, _ = inputs((8, 8, 8, 8), torch.bfloat16, seed=2)
    single = fused.block(u.detach().float(), gamma, beta, EPS)
    assert torch.equal(fused.block(u, gamma, beta, EPS), single.bfloat16())


def test_bfloat16_ties_go_to_even_and_nan_stays_nan() -> None:
    # With gamma 0 the output is beta itself: two ties, the largest float32, and the NaN that rounding would carry over.
    beta = torch.tensor([0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x7FFFFFFF], dtype=torch.int32).view(torch.float32)
    found = fused.block(torch.arange(16).view(1, 4, 2, 2).bfloat16(), torch.zeros(4), beta, EPS).flatten()
    assert found[:2].tolist() == [1, 1 + 2 * 2.0**-7]
    assert found[2].isinf()
    assert found[3].isnan()


def test_coefficients_of_any_type_get_gradients_of_theirs() -> None:
    u, du, *coefficients = inputs((2, 3, 4, 4), torch.bfloat16)
    narrow = [tensor.detach().bfloat16().requires_grad_() for tensor in coefficients]
    outputs = fused.block_with_tangent(u, du, narrow[0], narrow[1], narrow[2], narrow[3], EPS)
    assert all(gradient.dtype == torch.bfloat16 for gradient in torch.autograd.grad(weighted(*outputs), narrow))


def test_strides_do_not_matter() -> None:
    u, du, gamma, beta, dgamma, dbeta = (tensor.detach() for tensor in inputs((3, 4, 6, 8)))
    odd_u = u.to(memory_format=torch.channels_last).requires_grad_()
    odd_du = torch.stack([du, -du], 1).flatten(0, 1)[::2].requires_grad_()
    assert not odd_u.is_contiguous()
    assert not odd_du.is_contiguous()
    plain = u.clone().requires_grad_(), du.clone().requires_grad_()
    found = fused.block_with_tangent(odd_u, odd_du, gamma, beta, dgamma, dbeta, EPS)
    expected = fused.block_with_tangent(*plain, gamma, beta, dgamma, dbeta, EPS)
    assert all(torch.equal(mine, right) for mine, right in zip(found, expected, strict=True))
    # A sum hands back a gradient that is expanded from one number.
    mine = torch.autograd.grad(found[0].sum() + found[1].sum(), (odd_u, odd_du))
    right = torch.autograd.grad(expected[0].sum() + expected[1].sum(), plain)
    assert all(torch.equal(one, other) for one, other in zip(mine, right, strict=True))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4)], ids=str)
def test_nothing_in_gives_nothing_out(shape: tuple[int, int, int, int]) -> None:
    six = inputs(shape)
    outputs = fused.block_with_tangent(*six, EPS)
    assert [tuple(output.shape) for output in outputs] == [(*shape[:2], 2, 2)] * 2
    for tensor, gradient in zip(six, torch.autograd.grad(weighted(*outputs), six), strict=True):
        assert gradient.shape == tensor.shape
        assert not gradient.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", fused.DTYPES, ids=str)
def test_a_bad_number_shows_in_its_map_and_in_no_other(dtype: torch.dtype, bad: float) -> None:
    six = inputs((2, 3, 8, 8), dtype)
    u, du, gamma, beta, dgamma, dbeta = six
    with torch.no_grad():
        u[1, 2, 3, 5] = bad
    outputs = fused.block_with_tangent(u, du, gamma, beta, dgamma, dbeta, EPS)
    gradients = torch.autograd.grad(weighted(*outputs), six[:2])
    for maps in (*outputs, *gradients, fused.block(u, gamma, beta, EPS)):
        assert maps[1, 2].isnan().all()
        assert maps.isnan().sum() == maps[1, 2].numel()
    with torch.no_grad():
        u[1, 2, 3, 5] = 0
        gamma[1] = float("nan")
    assert fused.block(u, gamma, beta, EPS).isnan().sum(dim=(0, 2, 3)).tolist() == [0, 2 * 16, 0]
    with torch.no_grad():
        gamma[1] = 1
        du[0, 0, 0, 0] = bad
    assert not fused.block_with_tangent(u, du, gamma, beta, dgamma, dbeta, EPS)[1][0, 0].isfinite().all()


def test_threads_give_the_same_bits_as_one() -> None:
    cases = [inputs((4, 8, 16, 16), torch.float32, seed) for seed in range(8)]

    def work(six: Six) -> list[Tensor]:
        outputs = fused.block_with_tangent(*six, EPS)
        alone = fused.block(six[0], six[2], six[3], EPS)
        return [*outputs, alone, *torch.autograd.grad(weighted(*outputs, alone), six)]

    expected = [work(six) for six in cases]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for mine, right in zip(pool.map(work, cases), expected, strict=True):
                assert all(torch.equal(one, other) for one, other in zip(mine, right, strict=True))


def test_a_second_derivative_is_refused() -> None:
    u, du, gamma, beta, *rest = inputs((1, 2, 4, 4))
    for output in (fused.block(u, gamma, beta, EPS), fused.block_with_tangent(u, du, gamma, beta, *rest, EPS)[1]):
        with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
            torch.autograd.grad(weighted(output), u, create_graph=True)


def test_usable_where_the_kernels_can_work() -> None:
    assert all(fused.usable(torch.zeros(1, 2, 4, 6, dtype=dtype)) for dtype in fused.DTYPES)
    for shape in ((1, 2, 5, 4), (1, 2, 4, 5), (1, 2, 0, 4), (1, 2, 1, 1), (2, 4, 4)):
        assert not fused.usable(torch.zeros(shape)), shape
    assert not fused.usable(torch.zeros(1, 2, 4, 4, dtype=torch.float16))
    assert not fused.usable(torch.zeros(1, 2, 4, 4, device="meta"))


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "distail.models.kernels", None)
    monkeypatch.delattr("distail.models.kernels", raising=False)
    fused._kernels.cache_clear()
    yield
    fused._kernels.cache_clear()


@pytest.mark.usefixtures("without_numba")
def test_not_usable_without_numba() -> None:
    assert not fused.usable(torch.zeros(1, 2, 4, 4))


def test_wrong_shapes_never_reach_the_kernels() -> None:
    u, du, gamma, beta, dgamma, dbeta = inputs((1, 4, 4, 4))
    # The type checker of the tests would be first to refuse; users do without it.
    block, block_with_tangent = unwrap(fused.block), unwrap(fused.block_with_tangent)
    with pytest.raises(ValueError, match="No fused block"):
        block(u[:, :, :3], gamma, beta, EPS)
    with pytest.raises(ValueError, match="Coefficients of shape"):
        block(u[:, :3], gamma, beta, EPS)
    with pytest.raises(ValueError, match="Coefficients of shape"):
        block_with_tangent(u, du, gamma, beta, dgamma, torch.cat([dbeta, dbeta]), EPS)
    with pytest.raises(ValueError, match="du has the shape"):
        block_with_tangent(u, du[:, :, :2], gamma, beta, dgamma, dbeta, EPS)


def test_plain_layers_of_torch_agree() -> None:
    u, _, gamma, beta, _, _ = inputs((2, 4, 8, 8))
    expected = F.avg_pool2d(F.relu(F.group_norm(u, 4, gamma, beta, EPS)), 2)
    torch.testing.assert_close(fused.block(u, gamma, beta, EPS), expected, rtol=1e-11, atol=1e-11)
