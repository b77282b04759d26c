"""Convolutions with their normalisation, as the deep families put them together, and the size of what they give."""

from __future__ import annotations

from torch import nn

from distail.models.norm import Norm, make_norm


def make_convolution(
    channels: int, width: int, kernel_size: int, stride: int, norm: Norm, *, groups: int = 1
) -> nn.Conv2d:
    """A convolution padded so that stride 1 keeps the size of a map.

    It has a bias only where there is no normalisation, which would have brought one.

    Args:
        channels: of the input.
        width: channels of the output.
        kernel_size: side of the kernel, odd.
        stride: 1, or 2 to halve the sides of the map, rounded up.
        norm: the normalisation of the network.
        groups: 1, or `channels` for a depthwise convolution.
    """
    return nn.Conv2d(channels, width, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=norm == "none")


def conv_norm(
    channels: int, width: int, kernel_size: int, stride: int, norm: Norm, size: tuple[int, int], *, groups: int = 1
) -> list[nn.Module]:
    """`make_convolution`, and the normalisation of what it gives.

    Args:
        channels, width, kernel_size, stride, norm, groups: as for `make_convolution`.
        size: height and width of the output.
    """
    return [
        make_convolution(channels, width, kernel_size, stride, norm, groups=groups),
        make_norm(norm, width, size),
    ]


def strided_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Height and width after `make_convolution`."""
    return -(-size[0] // stride), -(-size[1] // stride)


def keep_scale(network: nn.Module) -> None:
    """Draws the weights of all convolutions anew, so that what they give varies as much as what they take.

    For networks in which many convolutions have nothing added past them: where normalisation is left out, weights as
    torch draws them leave nothing of the image in the end, and no gradient in front.

    Source: He et al., arXiv:1502.01852, without their factor for ReLU, with which residual blocks let maps grow.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
