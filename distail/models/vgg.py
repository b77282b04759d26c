"""VGG-11 in the small-image variant of the dataset-condensation field: eight convolutions, one linear layer.

Source: Simonyan and Zisserman, arXiv:1409.1556 (the architecture); Zhao et al., Dataset Condensation,
arXiv:2006.05929 (the small-image variant and its norms).

Deviations from the field's code
    - Grey images are padded by 1 in the first layer like all others, not by 3.
    - The last map is averaged to 1x1, so that any image size gives 512 features; at 32x32 it already is 1x1.
    - On maps too small to pool or to normalise, that layer is left out; see `distail.models.norm`. At 32x32
      nothing is: the last normalisations act on 2x2 maps.
"""

from __future__ import annotations

from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor, nn

from distail.models.network import Network
from distail.models.norm import Norm, make_norm, make_pool, pooled_size

_POOL = 0
_LAYERS = (64, _POOL, 128, _POOL, 256, 256, _POOL, 512, 512, _POOL, 512, 512, _POOL)


@final
class VGG11(Network):
    """VGG-11 for small images, 512 features.

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
        layers: list[nn.Module] = []
        for width in _LAYERS:
            if width == _POOL:
                layers.append(make_pool("max", map_size))
                map_size = pooled_size(map_size)
                continue
            layers += [
                nn.Conv2d(channels, width, kernel_size=3, padding=1),
                make_norm(norm, width, map_size),
                nn.ReLU(),
            ]
            channels = width
        self.feature_size = channels
        self.backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(self.feature_size, num_classes)

    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """The last map, averaged over its pixels."""
        return self.backbone(images).flatten(1)
