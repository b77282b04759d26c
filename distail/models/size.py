"""How large networks are at work, each counted once by running two images through it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from distail.models.architecture import build_network
from distail.models.flat import FlatLayout
from distail.runtime import Runtime
from distail.seeding import isolated_seed


@dataclass(frozen=True)
class NetworkSize:
    """What one image takes.

    Attributes:
        multiplications: those of convolutions and linear layers. Networks with depthwise convolutions (MobileNetV2,
            ShuffleNetV2) wait for memory more than others, and so take longer than these say.
        output_bytes: all layer outputs of an image.
        widest_bytes: an image's largest input and output of one layer, which is what a pass without a graph holds.
        vector_bytes: all parameters.
        feature_bytes: what the classifier sees of an image.
        mixes_images: see `Network`.
    """

    multiplications: int
    output_bytes: int
    widest_bytes: int
    vector_bytes: int
    feature_bytes: int
    mixes_images: bool


@cache
def network_size(
    architecture: str, image_shape: tuple[int, int, int], num_classes: int, runtime: Runtime
) -> NetworkSize:
    """Counts a network; the first three arguments as for `build_network`.

    Real images, not torch's meta device: its first operation imports more than a second's worth of modules.

    Args:
        runtime: where it is to run, and in which precision, on which bytes of outputs depend.
    """
    network = build_network(architecture, image_shape, num_classes, seed=0).to(runtime.device)
    images = torch.zeros(2, *image_shape, device=runtime.device)  # batch normalisation needs two
    sizes = [images.nbytes]
    multiplications = 0

    def count_bytes(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor):  # a layer of one's own may give several things
            sizes.append(output.nbytes)

    def count_multiplications(module: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal multiplications
        assert isinstance(module.weight, Tensor)
        multiplications += output.numel() * module.weight[0].numel()

    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(count_bytes)
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count_multiplications)
    with torch.no_grad(), runtime.autocast(), isolated_seed(0):  # dropout draws
        network(images)
    return NetworkSize(
        multiplications=multiplications // len(images),
        output_bytes=sum(sizes[1:]) // len(images),
        widest_bytes=max(map(sum, pairwise(sizes))) // len(images),
        vector_bytes=4 * FlatLayout.of(network).size,
        feature_bytes=4 * network.feature_size,
        mixes_images=network.mixes_images,
    )
