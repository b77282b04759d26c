"""What a distillation method may see, and what it returns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.checkpoint import Checkpoint, NoCheckpoint
from distail.data.image_set import ImageSet
from distail.data.labelled_views import LabelledViews
from distail.data.preprocess import Preprocessing
from distail.errors import DistailError
from distail.experts.bank import ExpertBank
from distail.experts.ground import ExpertGround
from distail.models import Network, build_network
from distail.models.saved import SavedNetwork
from distail.models.size import network_size
from distail.progress import Progress, SilentProgress
from distail.runtime import Runtime
from distail.seeding import derive_seed, torch_generator
from distail.training.recipe import TrainRecipe


@dataclass(frozen=True, eq=False)
class Synthetic:
    """What a method makes: images in preprocessed space, class by class, IPC of each.

    Attributes:
        images: (classes * ipc, channels, height, width).
        labels: (classes * ipc,), 0 0 .. 1 1 ..
        soft_labels: logits, or None where the method learns none.
        learning_rate: the student's learned step size, or None.
        real_indices: positions in the training set where the images are real ones, else None.
        mosaic: cells a side; above 1, networks learn from the cells of an image, each enlarged to full size.
        teacher: the network that labels views under the label protocol 'teacher', or None where the method has none.
        training: how students are to be trained on the set; the user's recipe, or the common one, when None.
        views: labelled views of the images, or None.
    """

    images: Float[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    soft_labels: Float[Tensor, "n k"] | None = None
    learning_rate: float | None = None
    real_indices: Int64[Tensor, " n"] | None = None
    mosaic: int = 1
    teacher: SavedNetwork | None = None
    training: TrainRecipe | None = None
    views: LabelledViews | None = None


def class_major_labels(num_classes: int, images_per_class: int) -> Int64[Tensor, " n"]:
    """0 0 .. 1 1 .. : the label order of every synthetic set."""
    return torch.arange(num_classes).repeat_interleave(images_per_class)


@dataclass(frozen=True, eq=False)
class Problem:
    """All that a method may see. There is no test set in it, so no method can select on one.

    Attributes:
        train: the long-tailed training images.
        preprocessing: fitted on `train`; methods work in its output space.
        images_per_class: how many synthetic images each class gets (IPC).
        architecture: the network that methods train or sample, such as 'convnet3'.
        seed: the source of all randomness, by `generator`.
        log: called as log(step, loss=..., ...) for each figure worth keeping.
        experts: where methods find experts and leave those that they train; a temporary folder when omitted.
        snapshot: called as snapshot(iteration, synthetic) with sets on the way, by methods that are asked for them.
        begin: called once as begin(images) by methods that change images, with those that they begin with, in
            preprocessed space and in the order of the set; not by a run that goes on from its checkpoint.
    """

    train: ImageSet
    preprocessing: Preprocessing
    images_per_class: int
    architecture: str = "convnet3"
    seed: int = 0
    runtime: Runtime = field(default_factory=Runtime)
    progress: Progress = field(default_factory=SilentProgress)
    checkpoint: Checkpoint = field(default_factory=NoCheckpoint)
    log: Callable[..., None] = lambda step, **figures: None
    experts: ExpertBank | None = None
    snapshot: Callable[[int, Synthetic], None] = lambda iteration, synthetic: None
    begin: Callable[[Tensor], None] = lambda images: None

    def __post_init__(self) -> None:
        if self.images_per_class < 1:
            raise DistailError(f"--ipc {self.images_per_class} makes no set. Ask for at least 1 image per class.")
        self.train.require_no_empty_class()

    def logging_to(
        self,
        log: Callable[..., None],
        snapshot: Callable[[int, Synthetic], None] | None = None,
        begin: Callable[[Tensor], None] | None = None,
    ) -> Problem:
        """The same problem, with figures going to `log`, sets on the way to `snapshot`, and first images to `begin`."""
        return replace(self, log=log, snapshot=snapshot or self.snapshot, begin=begin or self.begin)

    @property
    def ground(self) -> ExpertGround:
        """What experts for this problem learn from."""
        return ExpertGround(self.train, self.preprocessing, self.architecture, self.runtime, self.progress)

    @contextmanager
    def expert_bank(self) -> Iterator[ExpertBank]:
        """The problem's bank; a temporary one, gone afterwards, where it has none."""
        if self.experts is not None:
            yield self.experts
            return
        with tempfile.TemporaryDirectory(prefix="distail-experts-") as folder:
            yield ExpertBank(folder)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.train.num_classes

    def generator(self, *scope: str | int) -> torch.Generator:
        """A CPU generator for one named purpose, independent of all others."""
        return torch_generator(self.seed, *scope)

    def network(self, *scope: str | int) -> Network:
        """A freshly initialised network on the device."""
        seed = derive_seed(self.seed, *scope)
        network = build_network(self.architecture, self.train.image_shape, self.num_classes, seed)
        return network.to(self.runtime.device)

    def relative_cost(self, architecture: str) -> float:
        """Multiplications that a network needs for an image, over those of the problem's own."""
        shape = self.train.image_shape, self.num_classes
        asked, own = (network_size(name, *shape, self.runtime) for name in (architecture, self.architecture))
        return asked.multiplications / own.multiplications

    def real(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Preprocessed training images on the device."""
        return self.preprocessing.apply(self.train.images[indices].to(self.runtime.device))


@dataclass(frozen=True)
class Load:
    """What a method holds in memory while one batch passes through the network, as counts; bytes are reckoned later.

    Attributes:
        images: in the batch.
        passes: 'forward' keeps no graph; 'backward' keeps one; 'tangents' also keeps derivatives along a direction,
            where the network has them, and is 'double_backward' elsewhere, which keeps the graph of a gradient.
        shared: whether CPU threads share the batch, a part of it each at a time, where images do not mix.
        graphs: how many batches' graphs are kept at once.
        parameter_vectors: kept beside the gradients of the batch, such as a student's path.
        feature_vectors: kept, such as those of all training images.
        float_images: whether the training images are kept preprocessed, as `ExpertGround.training_set` does where
            memory is plentiful.
        architecture: of the network that the batch passes through; the problem's own when None.
    """

    images: int
    passes: Literal["forward", "backward", "tangents", "double_backward"] = "backward"
    shared: bool = False
    graphs: int = 1
    parameter_vectors: int = 0
    feature_vectors: int = 0
    float_images: bool = False
    architecture: str | None = None


@dataclass(frozen=True)
class Work:
    """How much computing a method will ask for, counted in images that pass through the network.

    Attributes:
        forward: images passed forward only.
        forward_backward: images passed forward and backward.
        loads: what is in memory at different times, of which the heaviest decides how much is needed; none where no
            network is used.
    """

    forward: int = 0
    forward_backward: int = 0
    loads: tuple[Load, ...] = ()

    def __add__(self, other: Work) -> Work:
        """One after the other."""
        return Work(
            self.forward + other.forward, self.forward_backward + other.forward_backward, self.loads + other.loads
        )
