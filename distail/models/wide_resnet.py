"""WRN-16-2: a residual network of 16 layers, twice as wide as the first one for CIFAR, normalised before convolving.

Source: Zagoruyko and Komodakis, arXiv:1605.07146 (the architecture, made for 32x32 images); He et al.,
arXiv:1603.05027 (normalisation and ReLU before the convolution).

Deviations from the paper
    - The last map is averaged to 1x1 whatever its size, so that any image size gives 128 features; at 32x32
      this is the paper's 8x8 average pooling.
    - Normalisation is the one that is asked for, where the paper has batch; there is no dropout, which the paper
      tries; and weights begin as torch draws them.
    - Without normalisation, the convolutions get the bias that the normalisation would have brought.
"""

from __future__ import annotations

from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor, nn

from distail.models.convolution import make_convolution, strided_size
from distail.models.network import Network
from distail.models.norm import Norm, make_norm

_STEM = 16
# (channels, stride of the first block); two blocks each
_GROUPS = ((32, 1), (64, 2), (128, 2))


@final
class WideResNet16x2(Network):
    """WRN-16-2, 128 features.

    Args:
        image_shape: (channels, height, width).
        num_classes: logits an image.
        norm: normalisation before each convolution but the first. The paper's: batch.
    """

    takes_images_one_by_one: ClassVar[bool] = True

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, norm: Norm = "instance") -> None:
        super().__init__()
        channels, *size = image_shape
        map_size = (size[0], size[1])
        layers: list[nn.Module] = [make_convolution(channels, _STEM, 3, 1, norm)]
        channels = _STEM
        for width, first_stride in _GROUPS:
            for stride in (first_stride, 1):
                layers.append(_PreActivatedBlock(channels, width, stride, norm, map_size))
                map_size = strided_size(map_size, stride)
                channels = width
        self.feature_size = channels
        self.backbone = nn.Sequential(*layers, make_norm(norm, channels, map_size), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(self.feature_size, num_classes)

    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """The last map, averaged over its pixels."""
        return self.backbone(images).flatten(1)


@final
class _PreActivatedBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added; `size` is that of the input map.

    Where the shape changes, what is added is a 1x1 convolution of the activated input.
    """

    def __init__(self, channels: int, width: int, stride: int, norm: Norm, size: tuple[int, int]) -> None:
        super().__init__()
        self.activation = nn.Sequential(make_norm(norm, channels, size), nn.ReLU())
        self.residual = nn.Sequential(
            make_convolution(channels, width, 3, stride, norm),
            make_norm(norm, width, strided_size(size, stride)),
            nn.ReLU(),
            make_convolution(width, width, 3, 1, norm),
        )
        same_shape = stride == 1 and channels == width
        self.shortcut = None if same_shape else make_convolution(channels, width, 1, stride, norm)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        active = self.activation(maps)
        return self.residual(active) + (maps if self.shortcut is None else self.shortcut(active))
