"""Normalisation and pooling, compared to torch's own layers."""

import pytest
import torch
from torch import nn

from distail.models.norm import make_norm, make_pool, pooled_size


def test_instance_is_instance_normalisation_with_learned_scale_and_shift() -> None:
    ours = make_norm("instance", 6, (5, 4)).double()
    theirs = nn.InstanceNorm2d(6, affine=True).double()
    scale, shift = torch.linspace(-1, 2, 6).double(), torch.linspace(3, -1, 6).double()
    for layer in (ours, theirs):
        layer.load_state_dict({"weight": scale, "bias": shift})
    maps = 3 * torch.randn(7, 6, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    torch.testing.assert_close(ours(maps), theirs(maps), rtol=0, atol=1e-12)


def test_instance_keeps_no_statistics() -> None:
    assert list(make_norm("instance", 8, (4, 4)).buffers()) == []


def test_group_has_four_groups() -> None:
    maps = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    normalised = make_norm("group", 8, (3, 3)).double()(maps).view(2, 4, -1)
    torch.testing.assert_close(normalised.mean(2), torch.zeros(2, 4, dtype=torch.float64), rtol=0, atol=1e-12)
    # eps 1e-5 inside the square root keeps the variance a little below 1.
    torch.testing.assert_close(
        normalised.var(2, correction=0), torch.ones(2, 4, dtype=torch.float64), rtol=0, atol=1e-3
    )


def test_batch_is_batch_normalisation() -> None:
    layer = make_norm("batch", 8, (1, 1))
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.num_features == 8


@pytest.mark.parametrize(
    ("norm", "channels", "size", "left_out"),
    [
        ("instance", 8, (1, 1), True),
        ("instance", 8, (1, 2), False),
        ("group", 8, (1, 1), False),
        ("group", 4, (1, 1), True),
        ("group", 4, (2, 1), False),
        ("none", 8, (4, 4), True),
    ],
)
def test_norm_is_left_out_exactly_where_it_would_erase_the_map(
    norm: str, channels: int, size: tuple[int, int], left_out: bool
) -> None:
    assert isinstance(make_norm(norm, channels, size), nn.Identity) == left_out


@pytest.mark.parametrize("kind", ["average", "max"])
@pytest.mark.parametrize("size", [(8, 8), (3, 5), (2, 2), (1, 4), (7, 1), (1, 1)])
def test_pooled_size_is_what_the_pooling_leaves(kind: str, size: tuple[int, int]) -> None:
    pooled = make_pool(kind, size)(torch.zeros(1, 1, *size))
    assert tuple(pooled.shape[2:]) == pooled_size(size)
    assert min(pooled_size(size)) >= 1


def test_pools_differ_in_kind() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert make_pool("average", (2, 2))(maps).item() == 3.0
    assert make_pool("max", (2, 2))(maps).item() == 6.0
