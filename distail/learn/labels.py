"""The three label protocols: hard labels, soft labels stored in the set, or a teacher in the loop.

Soft labels that are stored are those of views where a set has labelled views, else those of its images.

Numbers under different protocols are never comparable, so the protocol is named beside every one of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.artifact import tensors_digest
from distail.data.image_set import require_same_classes
from distail.data.mixing import Mixture
from distail.data.preprocess import Preprocessing
from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.learn.labelled_views import ViewTrainingSet
from distail.models.architecture import architecture_source
from distail.models.saved import SavedNetwork
from distail.runtime import Runtime
from distail.training.recipe import LabelProtocol, TrainRecipe
from distail.training.targets import Targets
from distail.training.training_set import TensorTrainingSet, TrainingSet


@dataclass(frozen=True, eq=False)
class TeacherTrainingSet:
    """Stored images whose soft labels are a teacher's logits for the view at hand.

    Where a network is to learn another question than the teacher's, such as which group a class is in, `asked` leads
    from the teacher's logits to those of the `num_classes` outputs.
    """

    all_images: Float[Tensor, "n c h w"]
    all_labels: Int64[Tensor, " n"]
    teacher: SavedNetwork
    preprocessing: Preprocessing
    num_classes: int
    runtime: Runtime
    asked: Callable[[Tensor], Tensor] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.all_images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.all_images)

    def images(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """The stored images."""
        return self.all_images[indices.to(self.all_images.device)]

    @torch.no_grad()
    def targets(
        self, indices: Int64[Tensor, " b"], views: Float[Tensor, "b c h w"], mixture: Mixture | None = None
    ) -> Targets:
        """The teacher's logits of the views, mixed ones too, translated into its own preprocessing; and hard labels."""
        translated = self.teacher.preprocessing.apply(self.preprocessing.invert(views))
        with self.runtime.autocast():
            logits = self.teacher.network(translated).float()
        hard = Targets(self.all_labels[indices.to(self.all_labels.device)])
        if mixture is not None:
            hard = hard.mixed(mixture, self.num_classes)
        return Targets(hard.labels, self.asked(logits) if self.asked else logits)

    def of_epoch(self, epoch: int) -> TeacherTrainingSet:
        """Itself: every pass sees the same images."""
        return self

    def digest(self) -> str | None:
        """SHA-256 of images, labels, preprocessing and teacher; None where another question than its own is asked."""
        if self.asked is not None:
            return None
        teacher = {f"teacher.{name}": value.cpu() for name, value in self.teacher.network.state_dict().items()}
        tensors = {"images": self.all_images.cpu(), "labels": self.all_labels.cpu(), **teacher}
        for name, preprocessing in (("own", self.preprocessing), ("its", self.teacher.preprocessing)):
            tensors |= {f"{name}.{key}": value for key, value in preprocessing.to_tensors().items()}
        architecture = self.teacher.architecture
        headers = [self.preprocessing.header(), self.teacher.preprocessing.header()]
        own = [architecture, architecture_source(architecture)]
        return tensors_digest(tensors, json.dumps(["teacher", *own, *headers]))


def effective_protocol(distilled: DistilledSet, labels: LabelProtocol) -> LabelProtocol:
    """The protocol that a request amounts to: 'static' on a set without soft labels is 'hard'."""
    stores_none = distilled.soft_labels is None and distilled.views is None
    return "hard" if labels == "static" and stores_none else labels


def own_training(distilled: DistilledSet, labels: LabelProtocol) -> TrainRecipe:
    """How students of a set learn by this protocol where the user says nothing: as the set says, or the common way."""
    own = distilled.training or TrainRecipe()
    return own.on_hard_labels if effective_protocol(distilled, labels) == "hard" else own


def require_teacher(labels: LabelProtocol, teacher: SavedNetwork | None) -> None:
    """Refuses the teacher protocol without a teacher, and a teacher that the protocol would not ask."""
    if (labels == "teacher") != (teacher is not None):
        raise DistailError(
            "The label protocol 'teacher' and a teacher network go together: pass both --labels teacher and "
            "--teacher FILE, or neither."
        )


def labelled_training_set(
    distilled: DistilledSet, labels: LabelProtocol, runtime: Runtime, teacher: SavedNetwork | None = None
) -> TrainingSet:
    """The distilled images, mosaics decoded, with targets by this protocol, on the device.

    Raises:
        DistailError: the teacher protocol without a teacher, a teacher for other classes or images, or a teacher
            that the protocol would not ask.
    """
    require_teacher(labels, teacher)
    distilled = distilled.decoded()
    images, hard = distilled.images.to(runtime.device), distilled.labels.to(runtime.device)
    if teacher is not None:
        require_same_classes(distilled.class_names, "the distilled set", teacher.class_names, "the teacher")
        if teacher.image_shape != distilled.image_shape:
            raise DistailError(
                f"The teacher sees images of {teacher.image_shape}, the set holds {distilled.image_shape}. "
                "Train a teacher on images of the same size."
            )
        teacher.network.to(runtime.device).eval()
        return TeacherTrainingSet(images, hard, teacher, distilled.preprocessing, distilled.num_classes, runtime)
    if distilled.views is not None and labels == "static":
        return ViewTrainingSet(images, hard, distilled.views, distilled.preprocessing)
    targets = Targets(hard)
    if distilled.soft_labels is not None and labels == "static":
        targets = Targets(hard, distilled.soft_labels.to(runtime.device))
    return TensorTrainingSet(images, targets, distilled.num_classes, distilled.preprocessing)
