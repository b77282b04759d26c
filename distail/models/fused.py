"""Instance norm, ReLU and 2x2 average pooling in one step on the CPU, alone and with a forward-mode tangent.

The three layers after a convolution of a ConvNet move so much memory as separate layers that they take longer
than the convolution. Here they are one compiled loop over each map (`distail.models.kernels`), and so is their
gradient. With u the convolution's output, s = 1/sqrt(var u + eps) and ũ = s (u - mean u) for every map,

    p = pool(relu(z)),  z = gamma ũ + beta,

and along a direction (du, dgamma, dbeta)

    dp = pool([z > 0] (gamma s (du - mean du - ũ mean(ũ du)) + dgamma ũ + dbeta)).

Both can be differentiated once, in reverse mode: no second derivative, no forward-mode, no torch.func transform.
A backward pass with `create_graph=True` raises a RuntimeError. So a gradient of dp, which is a second derivative
of p, comes from `block_with_tangent` and not from `block`. Functions here may be called from several threads at once.

Source: Ulyanov et al., arXiv:1607.08022 (instance norm); Pearlmutter, Fast Exact Multiplication by the Hessian,
    Neural Computation 1994 (gradients of a tangent).
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

DTYPES = (torch.float32, torch.float64, torch.bfloat16)
"""Types of maps that the kernels know. Sums are taken in float64 for the second, else in float32."""


@cache
def _kernels() -> ModuleType | None:
    """The compiled kernels, imported on first use because numba is slow to import; None where it is missing."""
    try:
        from distail.models import kernels
    except ImportError:
        return None
    return kernels


def usable(maps: Tensor) -> bool:
    """Whether `block` and `block_with_tangent` take these maps, by their device, type and shape.

    True for (n, c, h, w) on the CPU, of a type in `DTYPES`, with h and w even and at least 2, where numba can be
    imported. What the network does with the maps is for the caller to know.
    """
    return (
        maps.device.type == "cpu"
        and maps.dtype in DTYPES
        and maps.ndim == 4
        and min(maps.shape[2:]) >= 2
        and all(side % 2 == 0 for side in maps.shape[2:])
        and _kernels() is not None
    )


def block(
    u: Float[Tensor, "n c h w"], gamma: Float[Tensor, " c"], beta: Float[Tensor, " c"], eps: float
) -> Float[Tensor, "n c h/2 w/2"]:
    """Average-pooled ReLU of the instance norm of each map.

    Args:
        u: maps that are `usable`; n may be 0. They need not be contiguous.
        gamma: scale of each channel, of any floating type.
        beta: shift of each channel, likewise.
        eps: added to the variance, 1e-5 in `torch.nn.GroupNorm`.

    Returns:
        The pooled maps, of the type of u. Gradients have the type of what they belong to.

    Raises:
        ValueError: the maps are not usable, or the coefficients are not one number a channel.
    """
    _check(u, gamma, beta)
    pooled: Tensor = _Block.apply(u, gamma, beta, eps)
    return pooled


def block_with_tangent(
    u: Float[Tensor, "n c h w"],
    du: Float[Tensor, "n c h w"],
    gamma: Float[Tensor, " c"],
    beta: Float[Tensor, " c"],
    dgamma: Float[Tensor, " c"],
    dbeta: Float[Tensor, " c"],
    eps: float,
) -> tuple[Float[Tensor, "n c h/2 w/2"], Float[Tensor, "n c h/2 w/2"]]:
    """`block`, and its derivative when its inputs move along a direction.

    Args:
        u: maps that are `usable`; n may be 0. They need not be contiguous.
        du: direction of u, of its shape.
        gamma: scale of each channel, of any floating type.
        beta: shift of each channel, likewise.
        dgamma: direction of gamma.
        dbeta: direction of beta.
        eps: added to the variance.

    Returns:
        The pooled maps and their derivative, of the type of u. Both have gradients for all six inputs.

    Raises:
        ValueError: the maps are not usable, or shapes do not match.
    """
    _check(u, gamma, beta, dgamma, dbeta)
    if du.shape != u.shape:
        raise ValueError(f"du has the shape {tuple(du.shape)}, but u has {tuple(u.shape)}.")
    pooled, dpooled = _BlockWithTangent.apply(u, du.to(u.dtype), gamma, beta, dgamma, dbeta, eps)
    return pooled, dpooled


def _check(u: Tensor, *coefficients: Tensor) -> None:
    """The kernels read past the end of what is too short, so nothing wrong may reach them."""
    if not usable(u):
        raise ValueError(f"No fused block for maps of shape {tuple(u.shape)}, {u.dtype}, on '{u.device}'.")
    for tensor in coefficients:
        if tensor.shape != (u.shape[1],) or tensor.device != u.device:
            raise ValueError(f"Coefficients of shape {tuple(tensor.shape)} for {u.shape[1]} channels.")


def _rows(maps: Tensor) -> NDArray[Any]:
    """Contiguous maps (n, c, h, w) as the kernels read and write them: (n*c, h*w), bfloat16 as its bits."""
    n, c, h, w = maps.shape
    flat = maps.detach().view(n * c, h * w)
    return (flat.view(torch.uint16) if flat.dtype == torch.bfloat16 else flat).numpy()


def _stack(u: Tensor, *coefficients: Tensor) -> Tensor:
    """Coefficients as rows, in the type in which the kernels sum."""
    real = torch.float64 if u.dtype == torch.float64 else torch.float32
    return torch.stack([tensor.detach().to(real) for tensor in coefficients])


def _pooled_like(u: Tensor) -> Tensor:
    n, c, h, w = u.shape
    return u.new_empty(n, c, h // 2, w // 2)


def _unstack(stacked: Tensor, dtypes: tuple[torch.dtype, ...]) -> list[Tensor]:
    return [row.to(dtype) for row, dtype in zip(stacked, dtypes, strict=True)]


def _refuse_second_derivative() -> None:
    """torch's `once_differentiable` lets a linear loss pass, whose second derivative would silently be zero."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "Fused blocks cannot be differentiated twice: leave out create_graph=True, or set `fused` of the "
            "network to False."
        )


class _Block(torch.autograd.Function):
    """`block` as an operation of autograd."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
        from distail.models import kernels

        u = u.contiguous()
        coefficients = _stack(u, gamma, beta)
        pooled = _pooled_like(u)
        statistics = coefficients.new_empty(u.shape[0] * u.shape[1], 2)
        kernels.forward(_rows(u), *u.shape[2:], coefficients.numpy(), eps, _rows(pooled), statistics.numpy())
        ctx.save_for_backward(u, coefficients, statistics)
        ctx.dtypes = gamma.dtype, beta.dtype
        return pooled

    @staticmethod
    def backward(ctx: Any, pooled_bar: Tensor) -> tuple[Tensor | None, ...]:
        from distail.models import kernels

        _refuse_second_derivative()
        u, coefficients, statistics = ctx.saved_tensors
        u_bar, coefficients_bar = torch.empty_like(u), torch.zeros_like(coefficients)
        kernels.backward(
            _rows(u),
            *u.shape[2:],
            statistics.numpy(),
            coefficients.numpy(),
            _rows(pooled_bar.contiguous()),
            _rows(u_bar),
            coefficients_bar.numpy(),
        )
        return u_bar, *_unstack(coefficients_bar, ctx.dtypes), None


class _BlockWithTangent(torch.autograd.Function):
    """`block_with_tangent` as an operation of autograd."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, du: Tensor, gamma: Tensor, beta: Tensor, dgamma: Tensor, dbeta: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        from distail.models import kernels

        u, du = u.contiguous(), du.contiguous()
        coefficients = _stack(u, gamma, beta, dgamma, dbeta)
        pooled, dpooled = _pooled_like(u), _pooled_like(u)
        statistics = coefficients.new_empty(u.shape[0] * u.shape[1], 4)
        kernels.tangent_forward(
            _rows(u),
            _rows(du),
            *u.shape[2:],
            coefficients.numpy(),
            eps,
            _rows(pooled),
            _rows(dpooled),
            statistics.numpy(),
        )
        ctx.save_for_backward(u, du, coefficients, statistics)
        ctx.dtypes = gamma.dtype, beta.dtype, dgamma.dtype, dbeta.dtype
        return pooled, dpooled

    @staticmethod
    def backward(ctx: Any, pooled_bar: Tensor, dpooled_bar: Tensor) -> tuple[Tensor | None, ...]:
        from distail.models import kernels

        _refuse_second_derivative()
        u, du, coefficients, statistics = ctx.saved_tensors
        u_bar, du_bar, coefficients_bar = torch.empty_like(u), torch.empty_like(u), torch.zeros_like(coefficients)
        kernels.tangent_backward(
            _rows(u),
            _rows(du),
            *u.shape[2:],
            statistics.numpy(),
            coefficients.numpy(),
            _rows(pooled_bar.contiguous()),
            _rows(dpooled_bar.contiguous()),
            _rows(u_bar),
            _rows(du_bar),
            coefficients_bar.numpy(),
        )
        return u_bar, du_bar, *_unstack(coefficients_bar, ctx.dtypes), None
