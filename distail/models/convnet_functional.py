"""ConvNet's blocks as functions of their parameters, and their tangent, without touching the state of a module.

A block is [convolution, normalisation, ReLU, average pooling]. Its parameters are the convolution's weight and
bias and, where the normalisation has them, its scale and shift, in this order.

Source: Pearlmutter, Fast Exact Multiplication by the Hessian, Neural Computation 1994 (tangents of a network).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from distail.models import fused


class Layers(NamedTuple):
    """The layers of one block that differ between networks; ReLU is the same everywhere."""

    conv: nn.Conv2d
    norm: nn.Module
    pool: nn.Module

    @property
    def parameter_count(self) -> int:
        """Tensors among the network's parameters that belong to this block."""
        return 4 if isinstance(self.norm, nn.GroupNorm | nn.BatchNorm2d) else 2

    def own_parameters(self) -> list[Tensor]:
        """The module's own tensors, in the order of `parameters()`."""
        layers = (self.conv, self.norm)[: self.parameter_count // 2]
        return [getattr(layer, name) for layer in layers for name in ("weight", "bias")]


def layers_of(backbone: nn.Sequential) -> list[Layers]:
    """The blocks of a ConvNet's backbone."""
    blocks = []
    for at in range(0, len(backbone), 4):
        conv, norm, pool = backbone[at], backbone[at + 1], backbone[at + 3]
        assert isinstance(conv, nn.Conv2d)
        blocks.append(Layers(conv, norm, pool))
    return blocks


def split_by_block(blocks: Sequence[Layers], parameters: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    """The parameters of each block; what follows the last block, the classifier's, is left out.

    Raises:
        ValueError: there are fewer parameters than the blocks have.
    """
    pieces: list[Sequence[Tensor]] = []
    start = 0
    for block in blocks:
        pieces.append(parameters[start : start + block.parameter_count])
        start += block.parameter_count
    if start > len(parameters):
        raise ValueError(f"{len(parameters)} parameters for blocks that have {start}.")
    return pieces


def block_forward(
    layers: Layers, parameters: Sequence[Tensor], maps: Float[Tensor, "n c h w"], use_fused: bool
) -> Float[Tensor, "n k i j"]:
    """One block.

    Batch normalisation takes the statistics of the batch in training mode and the running ones in evaluation
    mode, and never updates them.

    Args:
        layers: what the block consists of; their own parameters are not looked at.
        parameters: those to use, `layers.parameter_count` of them.
        maps: the block's input. Under `torch.autocast` the convolution runs in the lower precision, as always.
        use_fused: take `fused.block` where it is usable, which can be differentiated once only.
    """
    maps = F.conv2d(maps, parameters[0], parameters[1], padding=layers.conv.padding)
    norm = layers.norm
    if isinstance(norm, nn.GroupNorm):
        if use_fused and _is_fusible(layers, maps):
            return fused.block(maps, parameters[2], parameters[3], norm.eps)
        maps = F.group_norm(maps, norm.num_groups, parameters[2], parameters[3], norm.eps)
    elif isinstance(norm, nn.BatchNorm2d):
        mean, variance = (None, None) if norm.training else (norm.running_mean, norm.running_var)
        maps = F.batch_norm(maps, mean, variance, parameters[2], parameters[3], norm.training, eps=norm.eps)
    return layers.pool(F.relu(maps))


def block_tangent(
    layers: Layers,
    parameters: Sequence[Tensor],
    direction: Sequence[Tensor],
    maps: Float[Tensor, "n c h w"],
    dmaps: Float[Tensor, "n c h w"] | None,
) -> tuple[Float[Tensor, "n k i j"], Float[Tensor, "n k i j"]]:
    """One block, and its derivative when its parameters and its input move.

    Args:
        layers: what the block consists of; their own parameters are not looked at.
        parameters: those to use, `layers.parameter_count` of them.
        direction: in which the parameters move, of their shapes.
        maps: the block's input.
        dmaps: in which the input moves; None stands for zero.

    Returns:
        The output and its derivative. They can be differentiated once in everything above.

    Raises:
        ValueError: the block has batch normalisation.
    """
    norm, padding = layers.norm, layers.conv.padding
    if isinstance(norm, nn.BatchNorm2d):
        raise ValueError("No tangent of batch normalisation, which mixes images.")
    u = F.conv2d(maps, parameters[0], parameters[1], padding=padding)
    du = F.conv2d(maps, direction[0], direction[1], padding=padding)
    if dmaps is not None:
        du = du.add_(F.conv2d(dmaps, parameters[0], padding=padding))
    if isinstance(norm, nn.GroupNorm):
        if _is_fusible(layers, u):
            return fused.block_with_tangent(u, du, parameters[2], parameters[3], direction[2], direction[3], norm.eps)
        u, du = _norm_tangent(norm, u, du, parameters[2:], direction[2:])
    return layers.pool(F.relu(u)), layers.pool(torch.where(u > 0, du, 0))


def _is_fusible(layers: Layers, maps: Tensor) -> bool:
    norm = layers.norm
    is_instance = isinstance(norm, nn.GroupNorm) and norm.num_groups == norm.num_channels
    return is_instance and isinstance(layers.pool, nn.AvgPool2d) and fused.usable(maps)


def _norm_tangent(
    norm: nn.GroupNorm, u: Tensor, du: Tensor, parameters: Sequence[Tensor], direction: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Group normalisation and its derivative, for which torch has no operation that can be differentiated."""
    dtype = u.dtype
    real = torch.float64 if dtype == torch.float64 else torch.float32
    groups = (len(u), norm.num_groups, u.shape[1] // norm.num_groups * u.shape[2] * u.shape[3])
    grouped, dgrouped = u.to(real).reshape(groups), du.to(real).reshape(groups)
    centred, dcentred = (x - x.mean(2, keepdim=True) for x in (grouped, dgrouped))
    scale = torch.rsqrt(centred.square().mean(2, keepdim=True) + norm.eps)
    normed = centred * scale
    dnormed = scale * (dcentred - normed * (normed * dcentred).mean(2, keepdim=True))
    normed, dnormed = normed.reshape(u.shape), dnormed.reshape(u.shape)
    gamma, beta, dgamma, dbeta = (tensor.to(real).view(-1, 1, 1) for tensor in (*parameters, *direction))
    z, dz = gamma * normed + beta, gamma * dnormed + dgamma * normed + dbeta
    return z.to(dtype), dz.to(dtype)
