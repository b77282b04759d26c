"""How groups of classes are found, and used in two stages. Imports no torch, so that `--help` stays fast."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from distail.config import Config
from distail.training.recipe import TrainRecipe

FeatureImages = Literal["train", "heldout", "test"]
"""Whose features are grouped: training images, images held out of them, or test images as in the paper."""


class FullDataTraining(Config):
    """How a network is trained on all the long-tailed images, to find groups or as a stage."""

    epochs: int = Field(default=50, ge=1)
    """Passes over all the images; where groups are found with a distilled set, it is passed over for as many steps."""
    batch_size: int = Field(default=128, ge=1)
    """Images a step."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Initial step size of SGD with momentum 0.9 and weight decay 5e-4, falling to zero as a cosine."""
    augmentation: str = "crop_flip"
    """DSA operations joined by '_', or 'none'."""

    def train_recipe(self, epochs: int | None = None) -> TrainRecipe:
        """The same for the training loop, for another number of epochs if given."""
        return TrainRecipe(
            epochs=epochs or self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            schedule="cosine",
            augmentation=self.augmentation,
        )


class GroupingSettings(FullDataTraining):
    """How a network is trained, and how its features become groups.

    Source: Zheng et al., ICMSSP 2024; the paper names no number of epochs.
    """

    num_groups: int | Literal["auto"] = 2
    """Groups to make; 'auto' picks the number on images held out of the training images. The paper's is 2."""
    max_groups: int = Field(default=10, ge=2)
    """Most groups that 'auto' considers."""
    num_centroids: int = Field(default=5, ge=1)
    """k-means centres of each class (M); a class with fewer images has one at each image."""
    features: FeatureImages = "train"
    """Images whose features are grouped."""
    validation: float = Field(default=0.2, gt=0, lt=1)
    """Fraction of each class held out of training, where features='heldout' or num_groups='auto' need it."""
    max_images: int = Field(default=1000, ge=1)
    """Images of a class that are looked at, at most; the paper's test set has 1,000."""


class TwoStageRecipe(FullDataTraining):
    """Deciding for a group first, then for a class in it: what each stage learns from, and how.

    A stage on distilled images is trained as students of the set are; epochs, batch size, learning rate and
    augmentation are those of stages on all images.

    Source: Zheng et al., ICMSSP 2024; the paper names no number of epochs.
    """

    grouping: str | None = None
    """File of a grouping made by `distail group`; groups are found when omitted."""
    settings: GroupingSettings = GroupingSettings()
    """How groups are found, where no file is named."""
    group_data: Literal["full", "distilled"] = "full"
    """What the group stage learns from: all the long-tailed images, as in the paper, or the distilled ones."""
    class_data: Literal["distilled", "full"] = "distilled"
    """What the class stages learn from: the distilled images, as in the paper, or all the long-tailed ones."""

    @field_validator("settings")
    @classmethod
    def _leaves_test_images_alone(cls, value: GroupingSettings) -> GroupingSettings:
        if value.features == "test":
            raise ValueError(
                "features='test' would let test images decide about what is tested on them. Leave it out; or, to do as "
                "the paper does, make a grouping with `distail group --features test` and name its file"
            )
        return value

    @property
    def needs_images(self) -> bool:
        """Whether a stage learns from the long-tailed images."""
        return "full" in (self.group_data, self.class_data)
