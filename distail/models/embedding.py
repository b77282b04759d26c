"""What a trained network sees in raw images: embeddings in front of its classifier, and class probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from distail.data.preprocess import Preprocessing
from distail.models.network import Network
from distail.models.saved import SavedNetwork
from distail.parallel import map_chunks
from distail.runtime import Runtime


@dataclass(frozen=True, eq=False)
class Embedded:
    """Of every image, on the CPU in float32.

    Attributes:
        embeddings: (n, features), in front of the classifier.
        probabilities: (n, classes), softmax of the logits.
    """

    embeddings: Float[Tensor, "n f"]
    probabilities: Float[Tensor, "n k"]


@torch.no_grad()
def embed_images(
    network: Network,
    images: UInt8[Tensor, "n c h w"],
    preprocessing: Preprocessing,
    runtime: Runtime,
    batch_size: int = 500,
) -> Embedded:
    """Embeddings and class probabilities of raw images, without augmentation; leaves the network in evaluation mode.

    Args:
        network: on the runtime's device.
        images: pixels 0..255, on any device.
        preprocessing: what the network was trained behind.
        runtime: where to compute, and in which precision.
        batch_size: images at a time; the result does not depend on it beyond rounding.
    """
    network.eval()
    embeddings, probabilities = [], []
    for batch in images.split(batch_size):
        with runtime.autocast():
            features = network.features(preprocessing.apply(batch.to(runtime.device)))
            logits = network.classifier(features)
        embeddings.append(features.float().cpu())
        probabilities.append(logits.float().softmax(dim=1).cpu())
    return Embedded(torch.cat(embeddings), torch.cat(probabilities))


def embedded_by(saved: SavedNetwork, images: UInt8[Tensor, "n c h w"], runtime: Runtime) -> Embedded:
    """`embed_images` behind the network's own preprocessing."""
    return embed_images(saved.network, images, saved.preprocessing, runtime)


def batch_features(network: Network, inputs: Float[Tensor, "n c h w"], runtime: Runtime) -> Float[Tensor, "n f"]:
    """Features of preprocessed images, without gradients and in at least float32; each CPU thread takes a part of them.

    Args:
        network: in evaluation mode; one whose images mix takes them whole.
        inputs: on the network's device.
        runtime: where to compute, and in which precision.
    """

    def of_part(part: slice) -> Tensor:
        with torch.no_grad(), runtime.autocast():
            return wide(network.features(inputs[part]))

    if network.mixes_images:
        return of_part(slice(0, len(inputs)))
    return torch.cat(map_chunks(of_part, len(inputs), runtime.device))


def wide(tensor: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """In float32 or float64, for sums."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
