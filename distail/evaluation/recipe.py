"""How a set is scored. Imports no torch, so that `--help` stays fast."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_serializer

from distail.choices import PreprocessingKind
from distail.config import Config
from distail.groups.settings import TwoStageRecipe
from distail.training.recipe import LabelProtocol, TrainRecipe

Reference = Literal["random", "full"]


class EvaluationRecipe(Config):
    """Students trained on a set and tested on held-out images."""

    architectures: tuple[str, ...] = Field(default=("convnet3",), min_length=1)
    """Networks to train, each with every seed."""
    seeds: int = Field(default=3, ge=1)
    """Students of each architecture; they get the seeds 0, 1, 2, ..."""
    labels: LabelProtocol = "static"
    """What students learn from; 'static' is 'hard' where the set stores no soft labels."""
    teacher: str | None = None
    """File of the network that labels views under the protocol 'teacher'; the run's own when omitted."""
    train: TrainRecipe = TrainRecipe()
    """How students are trained; values that are not given are those stored with the set, or the common ones where it
    stores none. A learning rate learned with the set takes precedence."""
    select: Literal["last", "validation"] = "last"
    """Which epoch is scored: the last, or the best on validation images drawn from the training data."""
    references: tuple[Reference, ...] = ()
    """Rows to set beside: as many random real images, and the whole training set, under the same recipe."""
    full_epochs: int | None = Field(default=None, ge=1)
    """Epochs of the reference on the whole training set; as many as for the set when omitted."""
    two_stage: TwoStageRecipe | None = None
    """Rows of networks that decide for a group of classes first, with soft and with hard routing; none when omitted."""

    @field_serializer("train")
    def _what_is_given(self, train: TrainRecipe) -> dict[str, Any]:
        """Without values that were not given, or reading the recipe again would ask for them."""
        return train.model_dump(mode="json", exclude_unset=True)


class BaselineRecipe(Config):
    """Networks trained on all the long-tailed images by a baseline, and tested on held-out images."""

    method: str = "balanced_softmax"
    """Name of a built-in baseline, or the module path of another."""
    settings: dict[str, Any] = {}
    """Hyper-parameters of the baseline that differ from its defaults."""
    architecture: str = "convnet3"
    """The network."""
    seeds: int = Field(default=3, ge=1)
    """Networks to train; they get the seeds 0, 1, 2, ..."""
    train: dict[str, Any] = {}
    """What differs from how the baseline trains networks by default; keys of `TrainRecipe`."""
    preprocessing: PreprocessingKind = "normalize"
    """Fitted on the images that networks learn from."""
