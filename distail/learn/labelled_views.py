"""`ViewTrainingSet`: stored images as networks learn from them by labelled views, another view in every epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from distail.artifact import tensors_digest
from distail.data.labelled_views import LabelledViews
from distail.data.mixing import Mixture
from distail.data.preprocess import Preprocessing
from distail.training.recipe import TrainRecipe
from distail.training.targets import Targets
from distail.training.training_set import TensorTrainingSet


@dataclass(frozen=True, eq=False)
class ViewTrainingSet:
    """Stored images, of which every epoch sees one view with its label, and as many epochs as there are views see all.

    Attributes:
        all_images: preprocessed, on the device.
        all_labels: hard ones.
        views: of the images.
        preprocessing: what made the images of pixels; None where that is not known.
    """

    all_images: Float[Tensor, "n c h w"]
    all_labels: Int64[Tensor, " n"]
    views: LabelledViews
    preprocessing: Preprocessing | None = None

    @property
    def num_classes(self) -> int:
        """Width of the network's output."""
        return self.views.logits.shape[2]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.all_images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.all_images)

    def of_epoch(self, epoch: int) -> TensorTrainingSet:
        """The epoch's view of each image; views are in random order as they were drawn, so that they take turns."""
        number = epoch % self.views.num_views
        _, height, width = self.image_shape
        hard = self.views.hard_labels(self.all_labels, number, (height, width))
        targets = Targets(hard, self.views.answers(number).to(self.all_images.device))
        seen = self.views.seen(self.all_images, number)
        return TensorTrainingSet(seen, targets, self.num_classes, self.preprocessing)

    def recipe_for(self, recipe: TrainRecipe) -> TrainRecipe:
        """Without what views are the outcome of: boxes, and mixing where they are mixed; mirroring alone is left.

        RandAugment is left out too, since labels are those of views without it.
        """
        done = {"augmentation": "flip" if recipe.mirrors else "none"} | ({"mixing": "none"} if self.views.parts else {})
        return recipe.model_copy(update=done)

    def images(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """The first view."""
        return self.of_epoch(0).images(indices)

    def targets(
        self, indices: Int64[Tensor, " b"], views: Float[Tensor, "b c h w"], mixture: Mixture | None = None
    ) -> Targets:
        """Labels of the first view, mixed like the images; how these look otherwise does not matter."""
        return self.of_epoch(0).targets(indices, views, mixture)

    def digest(self) -> str:
        """SHA-256 of images, labels and views."""
        tensors = {"images": self.all_images.cpu(), "labels": self.all_labels.cpu(), **self.views.to_tensors()}
        return tensors_digest(tensors, json.dumps(["labelled views", self.num_classes]))
