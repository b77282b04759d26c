"""MobileNetV2 in its small-image variant: a stem and a second stage of stride 1, so that maps shrink 8 times, not 32.

Blocks widen their input by a 1x1 convolution, convolve each channel on its own, and narrow the result again without
an activation behind; where the shape stays, the input is added.

Source: Sandler et al., arXiv:1801.04381, table 2 (the architecture, for 224x224 images, width 1).

Deviations from the paper
    - The stem and the second stage have stride 1 instead of 2, as the implementations for CIFAR have.
    - ReLU instead of ReLU6, which is for arithmetic of low precision; the implementations for CIFAR have ReLU too.
    - Some of those add a 1x1 convolution of the input where channels change without a stride; as in the paper, nothing
      is added there.
    - The last map is averaged to 1x1 whatever its size, so that any image size gives 1280 features. There is no
      dropout in front of the classifier.
    - Normalisation is the one that is asked for, where the paper has batch. Without it, the convolutions get the bias
      that it would have brought.
    - Instance normalisation of a 1x1 map is left out; see `distail.models.norm`. It takes 8x8 images to get there.
"""

from __future__ import annotations

from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor, nn

from distail.models.convolution import conv_norm, keep_scale, strided_size
from distail.models.network import Network
from distail.models.norm import Norm

_STEM, _LAST = 32, 1280
# (times that blocks widen their input, channels, blocks, stride of the first block)
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@final
class MobileNetV2(Network):
    """MobileNetV2 for small images, 1280 features.

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
        for times, width, num_blocks, first_stride in _STAGES:
            for stride in (first_stride, *[1] * (num_blocks - 1)):
                layers.append(_InvertedResidual(channels, width, times, stride, norm, map_size))
                map_size = strided_size(map_size, stride)
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
class _InvertedResidual(nn.Module):
    """Wide inside, narrow outside; `size` is that of the input map."""

    def __init__(self, channels: int, width: int, times: int, stride: int, norm: Norm, size: tuple[int, int]) -> None:
        super().__init__()
        inner, out_size = times * channels, strided_size(size, stride)
        self.residual = nn.Sequential(
            *conv_norm(channels, inner, 1, 1, norm, size),
            nn.ReLU(),
            *conv_norm(inner, inner, 3, stride, norm, out_size, groups=inner),
            nn.ReLU(),
            *conv_norm(inner, width, 1, 1, norm, out_size),
        )
        self.same_shape = stride == 1 and channels == width

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        changed = self.residual(maps)
        return maps + changed if self.same_shape else changed
