"""ShuffleNetV2 of width 0.5 in its small-image variant: a 3x3 stem of stride 1, no max-pooling.

Blocks change one half of the channels and leave the other as it is, then interleave the two halves.

Source: Ma et al., arXiv:1807.11164, table 5 (the architecture, for 224x224 images, width 0.5) and figure 3 (c, d).

Deviations from the paper
    - The stem has stride 1 instead of 2 and no max-pooling behind it, as the implementations for CIFAR have.
    - The last map is averaged to 1x1 whatever its size, so that any image size gives 1024 features.
    - Normalisation is the one that is asked for, where the paper has batch. Without it, the convolutions get the bias
      that it would have brought.
    - Instance normalisation of a 1x1 map is left out; see `distail.models.norm`. It takes 8x8 images to get there.
"""

from __future__ import annotations

from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distail.models.convolution import conv_norm, keep_scale, strided_size
from distail.models.network import Network
from distail.models.norm import Norm

_STEM, _LAST = 24, 1024
# (channels, blocks), of which the first has stride 2
_STAGES = ((48, 4), (96, 8), (192, 4))


@final
class ShuffleNetV2(Network):
    """ShuffleNetV2 of width 0.5 for small images, 1024 features.

    Args:
        image_shape: (channels, height, width).
        num_classes: logits an image.
        norm: normalisation after each convolution. The paper's: batch.
    """

    takes_images_one_by_one: ClassVar[bool] = True

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, norm: Norm = "instance") -> None:
        super().__init__()
        channels, *size = image_shape
        map_size = (size[0], size[1])
        layers: list[nn.Module] = [*conv_norm(channels, _STEM, 3, 1, norm, map_size), nn.ReLU()]
        channels = _STEM
        for width, num_blocks in _STAGES:
            layers.append(_HalvingBlock(channels, width, norm, map_size))
            map_size = strided_size(map_size, 2)
            layers += [_Block(width, norm, map_size) for _ in range(num_blocks - 1)]
            channels = width
        layers += [*conv_norm(channels, _LAST, 1, 1, norm, map_size), nn.ReLU()]
        self.feature_size = _LAST
        self.backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
        keep_scale(self.backbone)
        self.classifier = nn.Linear(self.feature_size, num_classes)

    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """The last map, averaged over its pixels."""
        return self.backbone(images).flatten(1)


@final
class _Block(nn.Module):
    """Changes the second half of the channels; `size` is that of the map."""

    def __init__(self, channels: int, norm: Norm, size: tuple[int, int]) -> None:
        super().__init__()
        self.branch = _branch(channels // 2, channels // 2, 1, norm, size)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        kept, changed = maps.chunk(2, dim=1)
        return _interleaved(kept, self.branch(changed))


@final
class _HalvingBlock(nn.Module):
    """Two branches on all the channels, both of stride 2; `size` is that of the input map."""

    def __init__(self, channels: int, width: int, norm: Norm, size: tuple[int, int]) -> None:
        super().__init__()
        out_size = strided_size(size, 2)
        self.shortcut = nn.Sequential(
            *conv_norm(channels, channels, 3, 2, norm, out_size, groups=channels),
            *conv_norm(channels, width // 2, 1, 1, norm, out_size),
            nn.ReLU(),
        )
        self.branch = _branch(channels, width // 2, 2, norm, size)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        return _interleaved(self.shortcut(maps), self.branch(maps))


def _branch(channels: int, width: int, stride: int, norm: Norm, size: tuple[int, int]) -> nn.Sequential:
    out_size = strided_size(size, stride)
    return nn.Sequential(
        *conv_norm(channels, width, 1, 1, norm, size),
        nn.ReLU(),
        *conv_norm(width, width, 3, stride, norm, out_size, groups=width),
        *conv_norm(width, width, 1, 1, norm, out_size),
        nn.ReLU(),
    )


def _interleaved(first: Float[Tensor, "n c h w"], second: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
    """The channels of both in turn, which is the paper's shuffle of one behind the other in two groups."""
    return torch.stack((first, second), dim=2).flatten(1, 2)  # n c 2 h w -> n 2c h w
