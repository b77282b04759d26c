"""`SavedNetwork`: a trained network in one file with all that is needed to use it on raw images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from distail.artifact import TensorFile, read_tensors, with_prefix, write_tensors
from distail.data.preprocess import Preprocessing
from distail.errors import DistailError
from distail.models.architecture import build_network
from distail.models.network import Network
from distail.parallel import map_chunks

KIND = "network"
_NETWORK_PREFIX = "network."
_PREPROCESSING_PREFIX = "preprocessing."
_BRIGHTEST = 2.0
"""Floating point pixels above are of the scale 0..255; resizing may lead a little beyond 1."""


@dataclass(frozen=True, eq=False)
class SavedNetwork:
    """A trained network and what it takes to use it.

    Attributes:
        network: the network, with its trained weights.
        architecture: the name that `build_network` built it from.
        image_shape: (channels, height, width).
        class_names: one name a logit, in order.
        preprocessing: turns uint8 images into the network's input.
        provenance: how the network came about, as JSON values.

    Raises:
        DistailError: the class names or the preprocessing do not belong to this network.
    """

    network: Network
    architecture: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    provenance: dict[str, Any]

    @property
    def num_bytes(self) -> int:
        """Bytes of the weights and of the preprocessing, as stored."""
        weights = sum(tensor.nbytes for tensor in self.network.state_dict().values())
        return weights + self.preprocessing.num_bytes

    def __post_init__(self) -> None:
        outputs = self.network.classifier.out_features
        if len(self.class_names) != outputs:
            raise DistailError(
                f"{len(self.class_names)} class names for a network of {outputs} outputs. Name every output once."
            )
        if self.preprocessing.image_shape != self.image_shape:
            raise DistailError(
                f"The network takes images of shape {self.image_shape} (channels, height, width), its "
                f"preprocessing {self.preprocessing.image_shape}. Use the one that it was trained with."
            )

    def predict_logits(self, images: Num[Tensor, "n c h w"], batch_size: int = 256) -> Float[Tensor, "n classes"]:
        """Logits of raw images, in evaluation mode and without gradients.

        The network's training flags are put back afterwards. The result is on the network's device.

        Args:
            images: pixels before preprocessing, bytes or floating point in 0..1, on any device.
            batch_size: images at a time; the result does not depend on it beyond rounding.

        Raises:
            DistailError: images are not of `image_shape`, or of another scale.
        """
        return raw_image_logits(
            self.network, self.network, images, self.preprocessing, len(self.class_names), batch_size
        )


def raw_image_logits(
    answer: Callable[[Tensor], Tensor],
    model: nn.Module,
    images: Num[Tensor, "n c h w"],
    preprocessing: Preprocessing,
    num_outputs: int,
    batch_size: int = 256,
) -> Float[Tensor, "n outputs"]:
    """What a model made of one or several networks says of raw images, in evaluation mode and without gradients.

    Training flags are put back afterwards. The result is on the model's device.

    Args:
        answer: from preprocessed images to `num_outputs` numbers each.
        model: holds the networks that `answer` asks.
        images: pixels before preprocessing, bytes or floating point in 0..1, on any device.
        preprocessing: what the networks were trained behind.
        num_outputs: columns of the result.
        batch_size: images at a time; the result does not depend on it beyond rounding.

    Raises:
        DistailError: images of another shape than those that the networks were trained on, or of another scale.
    """
    if images.is_floating_point() and images.numel() and float(images.max()) > _BRIGHTEST:
        raise DistailError(
            f"Images in floating point must be scaled to 0..1, but go up to {float(images.max()):g}. Divide them by "
            "255, or pass bytes (uint8)."
        )
    if tuple(images.shape[1:]) != preprocessing.image_shape:
        raise DistailError(
            f"The network was trained on images of shape {preprocessing.image_shape} (channels, height, width), "
            f"but got {tuple(images.shape[1:])}. Resize or convert the images first."
        )
    networks = [module for module in model.modules() if isinstance(module, Network)]
    weight = networks[0].classifier.weight
    logits = [weight.new_empty(0, num_outputs)]
    training = {module: module.training for module in model.modules()}
    fused_before = {network: network.fused for network in networks}
    for network in networks:
        network.fused = True
    model.eval()
    try:
        for batch in images.split(batch_size) if len(images) else ():
            inputs = preprocessing.apply(batch.to(weight.device)).to(weight.dtype)
            logits.append(_in_parts(answer, inputs, any(network.mixes_images for network in networks)))
    finally:
        for network, fused in fused_before.items():
            network.fused = fused
        for module, was_training in training.items():
            module.training = was_training
    return torch.cat(logits)


def batch_logits(network: Network, inputs: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
    """Logits of preprocessed images without gradients, a part of the images on each CPU thread where they do not mix.

    Args:
        network: in evaluation mode.
        inputs: on the network's device.
    """

    return _in_parts(network, inputs, network.mixes_images)


def _in_parts(answer: Callable[[Tensor], Tensor], inputs: Tensor, mixes_images: bool) -> Tensor:
    """Answers to preprocessed images without gradients; each CPU thread takes a part where images do not mix."""

    # New threads know nothing of the caller's autocast, and precision must not depend on the number of threads.
    device = inputs.device.type
    mixed, precision = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)

    def of_part(part: slice) -> Tensor:
        with torch.no_grad(), torch.autocast(device, precision, enabled=mixed):
            return answer(inputs[part])

    if mixes_images:
        return of_part(slice(0, len(inputs)))
    return torch.cat(map_chunks(of_part, len(inputs), device))


def save_network(path: str | Path, saved: SavedNetwork) -> None:
    """Writes a network to one safetensors file, atomically."""
    tensors = {_NETWORK_PREFIX + name: tensor for name, tensor in saved.network.state_dict().items()}
    tensors |= {_PREPROCESSING_PREFIX + name: tensor for name, tensor in saved.preprocessing.to_tensors().items()}
    header = {
        "architecture": saved.architecture,
        "image_shape": list(saved.image_shape),
        "class_names": list(saved.class_names),
        "preprocessing": saved.preprocessing.header(),
        "provenance": saved.provenance,
    }
    write_tensors(Path(path), TensorFile(KIND, tensors, header))


def load_network(path: str | Path) -> SavedNetwork:
    """Reads a network that `save_network` wrote, on the CPU and in evaluation mode.

    Raises:
        DistailError: the file is missing, damaged or no network; its weights do not fit the architecture that
            it names; or that architecture needs timm and timm is not installed.
    """
    content = read_tensors(Path(path), KIND)
    header = content.header
    try:
        architecture = str(header["architecture"])
        channels, height, width = (int(side) for side in header["image_shape"])
        class_names = tuple(str(name) for name in header["class_names"])
        preprocessing_header, provenance = dict(header["preprocessing"]), dict(header["provenance"])
    except (KeyError, TypeError, ValueError) as error:
        raise DistailError(f"{path} does not describe a network ({error!r}). Use a file that distail wrote.") from None
    image_shape = (channels, height, width)
    network = build_network(architecture, image_shape, len(class_names), seed=0)
    fill_network(network, with_prefix(content.tensors, _NETWORK_PREFIX), f"{path}: {architecture}")
    preprocessing = Preprocessing.from_parts(preprocessing_header, with_prefix(content.tensors, _PREPROCESSING_PREFIX))
    return SavedNetwork(network.eval(), architecture, image_shape, class_names, preprocessing, provenance)


def fill_network(network: Network, state: dict[str, Tensor], origin: str) -> None:
    """Gives a network its saved weights, in the precision in which they were saved.

    Raises:
        DistailError: weights are missing, surplus or of another shape; the message begins with `origin`.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if expected != found:
        differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        name = differing[0]
        raise DistailError(
            f"{origin}: the saved weights do not fit this architecture in {len(differing)} tensors; '{name}' "
            f"should be {expected.get(name, 'absent')} and is {found.get(name, 'absent')}. "
            "Use a file that this version of distail wrote."
        )
    # Assigned, not copied into what is there, so that the weights keep the precision in which they were saved. Tensors
    # from a file lie at odd addresses, where depthwise convolutions and 1x1 maps round otherwise; their copies do not.
    network.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, assign=True)
