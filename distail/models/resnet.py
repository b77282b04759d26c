"""ResNet-18 in the small-image variant of the dataset-condensation field: a 3x3 stem, no max-pooling.

Source: He et al., arXiv:1512.03385 (the architecture); Zhao et al., Dataset Condensation, arXiv:2006.05929
(the small-image variant and its norms).

Deviations from the field's code
    - The last map is averaged to 1x1 whatever its size, so that any image size gives 512 features; at 32x32
      this is the field's 4x4 average pooling.
    - Without normalisation, the convolutions get the bias that the normalisation would have brought.
    - Instance normalisation of a 1x1 map is left out; see `distail.models.norm`. It takes 8x8 images to get
      there.
"""

from __future__ import annotations

from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor, nn

from distail.models.convolution import conv_norm, strided_size
from distail.models.network import Network
from distail.models.norm import Norm

# (channels, stride of the first block); two blocks each
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


@final
class ResNet18(Network):
    """ResNet-18 for small images, 512 features.

    Args:
        image_shape: (channels, height, width).
        num_classes: logits an image.
        norm: normalisation after each convolution. The field's value: instance.
    """

    takes_images_one_by_one: ClassVar[bool] = True

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, norm: Norm = "instance") -> None:
        super().__init__()
        channels, *size = image_shape
        map_size = (size[0], size[1])
        width = _STAGES[0][0]
        layers: list[nn.Module] = [*conv_norm(channels, width, 3, 1, norm, map_size), nn.ReLU()]
        channels = width
        for width, first_stride in _STAGES:
            for stride in (first_stride, 1):
                map_size = strided_size(map_size, stride)
                layers.append(_ResidualBlock(channels, width, stride, norm, map_size))
                channels = width
        self.feature_size = channels
        self.backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(self.feature_size, num_classes)

    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """The last map, averaged over its pixels."""
        return self.backbone(images).flatten(1)


@final
class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added; `size` is that of the output map."""

    def __init__(self, channels: int, width: int, stride: int, norm: Norm, size: tuple[int, int]) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *conv_norm(channels, width, 3, stride, norm, size),
            nn.ReLU(),
            *conv_norm(width, width, 3, 1, norm, size),
        )
        same_shape = stride == 1 and channels == width
        self.shortcut = nn.Sequential(*([] if same_shape else conv_norm(channels, width, 1, stride, norm, size)))

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        return nn.functional.relu(self.residual(maps) + self.shortcut(maps))
