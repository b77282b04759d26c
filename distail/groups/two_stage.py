"""`TwoStage`: a network that decides for a group of classes, and one for each group that decides for a class in it.

    soft routing: log p(y|x) = log p(g(y)|x) + log p(y|g(y), x)
    hard routing: log p(y|x) = log p(y|g*, x) for y in g* = argmax_g p(g|x), and -∞ elsewhere

Groups are disjoint, so soft routing is the sum over all groups, p(y|x) = Σ_g p(g|x) p(y|g, x). Hard routing is the
paper's; its -∞ is probability 0 exactly, which softmax, argmax and calibration take as it is. A group of a single class
has no network: p(y|g, x) = 1.

All networks stand behind the same preprocessing, that of the distilled set, which was fitted on the same long-tailed
images that the group stage learns from.

Source: Zheng et al., ICMSSP 2024. Deviation: soft routing is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64, Num
from torch import Tensor, nn

from distail.artifact import TensorFile, read_tensors, with_prefix, write_tensors
from distail.data.preprocess import Preprocessing
from distail.errors import DistailError
from distail.groups.grouping import Grouping, grouping_from
from distail.models.architecture import build_network
from distail.models.embedding import wide
from distail.models.network import Network
from distail.models.saved import fill_network, raw_image_logits

KIND = "two-stage network"
_PREPROCESSING = "preprocessing."
_NETWORK = "network."

Routing = Literal["soft", "hard"]


@dataclass(frozen=True, eq=False)
class Decisions:
    """What both stages say of images.

    Attributes:
        groups: (n, groups), log p(g|x).
        within: (n, classes), log p(y|g(y), x).
        group_of: (classes,), the group of each class.
    """

    groups: Float[Tensor, "n g"]
    within: Float[Tensor, "n k"]
    group_of: Int64[Tensor, " k"]

    def routed(self, routing: Routing) -> Float[Tensor, "n k"]:
        """log p(y|x); of hard routing -∞ for classes outside the most probable group."""
        if routing == "soft":
            return self.groups[:, self.group_of] + self.within
        outside = self.group_of[None, :] != self.groups.argmax(dim=1)[:, None]
        return self.within.masked_fill(outside, -torch.inf)

    def on_cpu(self) -> Decisions:
        """The same on the CPU."""
        return Decisions(self.groups.cpu(), self.within.cpu(), self.group_of.cpu())

    def group_accuracy(self, labels: Int64[Tensor, " n"]) -> float:
        """Share of images, 0 to 1, whose class is in the most probable group."""
        return float((self.groups.argmax(dim=1) == self.group_of[labels]).double().mean())


class TwoStage(nn.Module):
    """The networks of both stages.

    Args:
        group: one logit a group.
        classes: for each group one logit a class of it; None for a group of one class.
        grouping: which class is in which group.

    Raises:
        DistailError: there is one group only, or a network has another number of outputs than it should.
    """

    def __init__(self, group: Network, classes: Sequence[Network | None], grouping: Grouping) -> None:
        super().__init__()
        require_several_groups(grouping)
        _require_outputs(group, grouping.num_groups, "The network that decides for a group")
        if len(classes) != grouping.num_groups:
            raise DistailError(
                f"{len(classes)} class stages for {grouping.num_groups} groups. Pass one a group, None for a group of "
                "one class."
            )
        for number, network in enumerate(classes):
            size = len(grouping.members(number))
            if (network is None) != (size == 1):
                raise DistailError(
                    f"Group {number + 1} has {size} classes. Pass a network exactly where there are more than one."
                )
            if network is not None:
                _require_outputs(network, size, f"The network of group {number + 1}")
        self.grouping = grouping
        self.group = group
        self.classes = nn.ModuleDict({str(number): one for number, one in enumerate(classes) if one is not None})

    def log_probabilities(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n both"]:
        """log p(g|x) of all groups and, beside it, log p(y|g(y), x) of all classes; at least float32.

        Args:
            images: preprocessed.
        """
        groups = wide(self.group(images)).log_softmax(dim=1)
        within = groups.new_zeros(len(images), len(self.grouping.class_names))
        for number, network in self.classes.items():
            members = torch.tensor(self.grouping.members(int(number)), device=groups.device)
            within = within.index_copy(1, members, wide(network(images)).log_softmax(dim=1))
        return torch.cat([groups, within], dim=1)

    def decisions(self, log_probabilities: Float[Tensor, "n both"]) -> Decisions:
        """The two parts of what `log_probabilities` gave."""
        groups, within = log_probabilities.tensor_split([self.grouping.num_groups], dim=1)
        return Decisions(groups, within, torch.tensor(self.grouping.group_of, device=groups.device))

    def forward(self, images: Float[Tensor, "n c h w"], routing: Routing = "soft") -> Float[Tensor, "n k"]:
        """Log-probabilities of all classes; of hard routing -∞ outside the most probable group.

        Args:
            images: preprocessed.
            routing: how the stages are put together.
        """
        return self.decisions(self.log_probabilities(images)).routed(routing)


def require_several_groups(grouping: Grouping) -> None:
    """Refuses a grouping that leaves nothing to decide in the first stage.

    Raises:
        DistailError: it has a single group.
    """
    if grouping.num_groups < 2:
        raise DistailError(
            "The grouping puts all classes into one group, so there is nothing to decide for in a first stage. Use one "
            "with at least two groups."
        )


def _require_outputs(network: Network, wanted: int, what: str) -> None:
    outputs = network.classifier.out_features
    if outputs != wanted:
        raise DistailError(
            f"{what} has {outputs} outputs instead of {wanted}. Use one that was trained for this grouping."
        )


@dataclass(frozen=True, eq=False)
class SavedTwoStage:
    """A trained two-stage classifier and what it takes to use it.

    Attributes:
        model: the networks, with their trained weights.
        group_architecture: the name that `build_network` built the network of the group stage from.
        class_architectures: those of the class stages; None for a group of one class.
        preprocessing: turns uint8 images into the networks' input.
        provenance: how it came about, as JSON values.
    """

    model: TwoStage
    group_architecture: str
    class_architectures: tuple[str | None, ...]
    preprocessing: Preprocessing
    provenance: dict[str, Any]

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a column of the logits."""
        return self.model.grouping.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.preprocessing.image_shape

    def decide(self, images: Num[Tensor, "n c h w"], batch_size: int = 256) -> Decisions:
        """What both stages say of raw images, in evaluation mode and without gradients.

        Args:
            images: pixels before preprocessing, bytes or floating point in 0..1, on any device.
            batch_size: images at a time; the result does not depend on it beyond rounding.

        Raises:
            DistailError: images are not of `image_shape`, or of another scale.
        """
        model, width = self.model, self.model.grouping.num_groups + len(self.class_names)
        found = raw_image_logits(model.log_probabilities, model, images, self.preprocessing, width, batch_size)
        return model.decisions(found)

    def predict_logits(
        self, images: Num[Tensor, "n c h w"], batch_size: int = 256, routing: Routing = "soft"
    ) -> Float[Tensor, "n classes"]:
        """Log-probabilities of raw images, which are logits too; arguments and errors as for `decide`."""
        return self.decide(images, batch_size).routed(routing)


def save_two_stage(path: str | Path, saved: SavedTwoStage) -> None:
    """Writes a two-stage classifier to one safetensors file, atomically."""
    tensors = {_NETWORK + name: tensor for name, tensor in saved.model.state_dict().items()}
    tensors |= {_PREPROCESSING + name: tensor for name, tensor in saved.preprocessing.to_tensors().items()}
    header = {
        "group_architecture": saved.group_architecture,
        "class_architectures": list(saved.class_architectures),
        "image_shape": list(saved.image_shape),
        "grouping": saved.model.grouping.to_json(),
        "preprocessing": saved.preprocessing.header(),
        "provenance": saved.provenance,
    }
    write_tensors(Path(path), TensorFile(KIND, tensors, header))


def load_two_stage(path: str | Path) -> SavedTwoStage:
    """Reads what `save_two_stage` wrote, on the CPU and in evaluation mode.

    Raises:
        DistailError: the file is missing, damaged or no two-stage classifier; weights do not fit the architectures
            that it names; or one needs timm and timm is not installed.
    """
    content = read_tensors(Path(path), KIND)
    header = content.header
    try:
        group_architecture = str(header["group_architecture"])
        class_architectures = tuple(None if name is None else str(name) for name in header["class_architectures"])
        channels, height, width = (int(side) for side in header["image_shape"])
        preprocessing_header, provenance = dict(header["preprocessing"]), dict(header["provenance"])
        grouping_values = header["grouping"]
    except (KeyError, TypeError, ValueError) as error:
        raise DistailError(
            f"{path} does not describe a two-stage network ({error!r}). Use a file that distail wrote."
        ) from None
    grouping = grouping_from(grouping_values, str(path))
    shape = (channels, height, width)
    state = with_prefix(content.tensors, _NETWORK)

    def network(architecture: str, outputs: int, prefix: str) -> Network:
        built = build_network(architecture, shape, outputs, seed=0)
        fill_network(built, with_prefix(state, prefix), f"{path}: {architecture}")
        return built

    group = network(group_architecture, grouping.num_groups, "group.")
    classes = [
        None if name is None else network(name, len(grouping.members(number)), f"classes.{number}.")
        for number, name in enumerate(class_architectures)
    ]
    preprocessing = Preprocessing.from_parts(preprocessing_header, with_prefix(content.tensors, _PREPROCESSING))
    if preprocessing.image_shape != shape:
        raise DistailError(
            f"{path}: networks for images of {shape} (channels, height, width), but a preprocessing for "
            f"{preprocessing.image_shape}. Use a file that distail wrote."
        )
    model = TwoStage(group, classes, grouping).eval()
    return SavedTwoStage(model, group_architecture, class_architectures, preprocessing, provenance)
