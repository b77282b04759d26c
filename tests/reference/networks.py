"""MobileNetV2, ShuffleNetV2 and WRN-16-2 with instance norm, layer after layer from their papers."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F


class Layers:
    """Takes the parameters of a network in their order, layer by layer."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self._remaining: Iterator[Tensor] = iter(parameters)

    def conv(self, maps: Tensor, stride: int = 1) -> Tensor:
        weight = next(self._remaining)
        groups = maps.shape[1] // weight.shape[1]
        return F.conv2d(maps, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)

    def norm(self, maps: Tensor) -> Tensor:
        return F.instance_norm(maps, weight=next(self._remaining), bias=next(self._remaining))

    def conv_norm(self, maps: Tensor, stride: int = 1) -> Tensor:
        return self.norm(self.conv(maps, stride))

    def classify(self, maps: Tensor) -> Tensor:
        logits = F.linear(maps.mean((2, 3)), next(self._remaining), next(self._remaining))
        assert next(self._remaining, None) is None
        return logits


def plain_mobilenetv2(parameters: list[Tensor], images: Tensor) -> Tensor:
    layers = Layers(parameters)
    maps = F.relu(layers.conv_norm(images))
    strides = [1, *(1, 1), *(2, 1, 1), *(2, 1, 1, 1), *(1, 1, 1), *(2, 1, 1), 1]
    for stride in strides:
        inner = F.relu(layers.conv_norm(maps))
        inner = F.relu(layers.conv_norm(inner, stride))
        narrow = layers.conv_norm(inner)
        maps = maps + narrow if maps.shape == narrow.shape else narrow
    return layers.classify(F.relu(layers.conv_norm(maps)))


def plain_shufflenetv2(parameters: list[Tensor], images: Tensor) -> Tensor:
    layers = Layers(parameters)
    maps = F.relu(layers.conv_norm(images))

    def branch(half: Tensor, stride: int) -> Tensor:
        half = F.relu(layers.conv_norm(half))
        return F.relu(layers.conv_norm(layers.conv_norm(half, stride)))

    for num_blocks in (4, 8, 4):
        left = F.relu(layers.conv_norm(layers.conv_norm(maps, 2)))
        maps = F.channel_shuffle(torch.cat([left, branch(maps, 2)], dim=1), 2)
        for _ in range(num_blocks - 1):
            half = maps.shape[1] // 2
            maps = F.channel_shuffle(torch.cat([maps[:, :half], branch(maps[:, half:], 1)], dim=1), 2)
    return layers.classify(F.relu(layers.conv_norm(maps)))


def plain_wrn16_2(parameters: list[Tensor], images: Tensor) -> Tensor:
    layers = Layers(parameters)
    maps = layers.conv(images)
    for group in range(3):
        for block in range(2):
            stride = 2 if group > 0 and block == 0 else 1
            active = F.relu(layers.norm(maps))
            residual = layers.conv(F.relu(layers.norm(layers.conv(active, stride))))
            maps = residual + (layers.conv(active, stride) if block == 0 else maps)
    return layers.classify(F.relu(layers.norm(maps)))
