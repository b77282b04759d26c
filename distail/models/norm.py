"""Normalisation and pooling layers that stay meaningful on the tiny maps that small images leave.

Both are decided when a network is built, from the size that its map will have at that point. On the image
sizes of the field (32 pixels for ConvNet-3, 64 for ConvNet-4, and so on) no rule below ever acts.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

Norm = Literal["instance", "batch", "group", "none"]
NORMS: tuple[Norm, ...] = get_args(Norm)
NUM_GROUPS = 4


def make_norm(norm: Norm, channels: int, size: tuple[int, int]) -> nn.Module:
    """A normalisation of maps with this many channels.

    'instance' is group normalisation with one group a channel, which keeps no running statistics and so
    behaves alike in training and evaluation; 'group' has four groups.

    Deviation: where a group holds a single number (instance normalisation of a 1x1 map) the normalised value
    is zero whatever the input, which would cut the image off from the output. The layer is left out there.

    Args:
        norm: which one.
        channels: channels of the map; a multiple of 4 for 'group'.
        size: height and width of the map.

    Source: Zhao et al., Dataset Condensation with Gradient Matching, arXiv:2006.05929 (the choice of norms);
        Ulyanov et al., arXiv:1607.08022 (instance); Wu and He, arXiv:1803.08494 (group); Ioffe and Szegedy,
        arXiv:1502.03167 (batch).
    """
    if norm == "none":
        return nn.Identity()
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    groups = channels if norm == "instance" else NUM_GROUPS
    numbers_in_group = channels // groups * size[0] * size[1]
    return nn.Identity() if numbers_in_group == 1 else nn.GroupNorm(groups, channels)


def make_pool(kind: Literal["average", "max"], size: tuple[int, int]) -> nn.Module:
    """A 2x2 pooling with stride 2 of maps of this size; nothing where a side is already shorter than 2.

    The second case is a deviation that lets deep networks take small images.
    """
    if min(size) < 2:
        return nn.Identity()
    return nn.AvgPool2d(2) if kind == "average" else nn.MaxPool2d(2)


def pooled_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width after `make_pool`."""
    return size if min(size) < 2 else (size[0] // 2, size[1] // 2)
