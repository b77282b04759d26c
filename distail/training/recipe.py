"""How a network is trained: optimiser, schedule, augmentation. Imports no torch, so that `--help` stays fast."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from distail.config import Config

DSA_ALL = "color_crop_cutout_flip_scale_rotate"
"""The operations of the common evaluation, of which each batch gets one (arXiv:2102.08259)."""
LabelProtocol = Literal["hard", "static", "teacher"]
"""hard: class indices; static: soft labels stored in the set; teacher: a network labels every augmented view."""


class TrainRecipe(Config):
    """Supervised training; the defaults are the field's common evaluation of distilled sets.

    Source: Zhao et al., arXiv:2006.05929 and 2102.08259, released evaluation code.
    """

    epochs: int = Field(default=1000, ge=1)
    """Passes over the training set; the step schedule runs one more, as in the released code."""
    batch_size: int = Field(default=256, ge=1)
    """Images a step."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """sgd with momentum, or adamw, which takes its own momenta and decays weights apart from the gradient."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Largest step size."""
    learning_rate_large: float | None = Field(default=None, gt=0, exclude_if=lambda value: value is None)
    """The step size for networks of more than a million weights before the classifier, such as AlexNet, VGG-11 and
    ResNet-18, which large steps throw off; null: the same."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """L2 penalty of SGD, or the decay of AdamW."""
    schedule: Literal["step", "cosine", "constant", "half_cosine", "late_steps", "late_linear", "one_cycle"] = "step"
    """step: a tenth after epoch epochs // 2 + 1, momentum reset; cosine: to zero over all steps; half_cosine: half a
    cosine, down to a half; late_steps: halved at 80, 90 and 95% of the epochs; late_linear: half_cosine until 5/6, then
    evenly to zero; one_cycle: up from a 25th over the first 30%, then as a cosine to nearly zero."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of all steps over which the step size first grows evenly from zero."""
    augmentation: str = DSA_ALL
    """DSA operations joined by '_', of which each batch gets one; 'rand', RandAugment, or 'rand-2-9' for its number of
    operations and magnitude; '+' between such parts applies all parts in turn, as in 'rand+resized+flip'; or 'none'."""
    smallest_crop: float = Field(default=0.08, gt=0, le=1)
    """Smallest share of an image's area that the operation 'resized' cuts out and enlarges."""
    loss: Literal["cross_entropy", "squared_error", "divergence"] = "cross_entropy"
    """Against hard labels always cross_entropy. Against soft ones: cross_entropy with their probabilities;
    squared_error of the logits, averaged over classes; or divergence (Kullback-Leibler) at `temperature`."""
    temperature: float = Field(default=1.0, gt=0)
    """Divides both sides' logits under the loss 'divergence'."""
    hard_weight: float = Field(default=0.0, ge=0)
    """Weight of the cross-entropy with hard labels that is added to the loss against soft ones."""
    mixing: Literal["none", "cutmix", "mixup"] = "none"
    """How images of a batch are mixed after augmentation, with shares drawn evenly from 0..1."""
    mixing_probability: float = Field(default=1.0, ge=0, le=1)
    """Share of the batches that are mixed."""
    average: float = Field(default=0.0, ge=0, lt=1)
    """Decay, per step, of an exponential moving average of the weights, which is then the network that is kept."""

    @property
    def mirrors(self) -> bool:
        """Whether the augmentation mirrors images, so that an image and its mirror image mean the same."""
        return "flip" in self.augmentation.replace("+", "_").split("_")

    @property
    def on_hard_labels(self) -> TrainRecipe:
        """The same against hard labels, where there is nothing but cross-entropy to take."""
        return self.model_copy(update={"loss": "cross_entropy", "hard_weight": 0.0})

    def changed_by(self, asked: TrainRecipe) -> TrainRecipe:
        """This recipe, with the values that `asked` was given; its defaults change nothing.

        A step size that was given is that of all networks.
        """
        given = {name: getattr(asked, name) for name in asked.model_fields_set}
        own = self.at_rate(asked.learning_rate) if "learning_rate" in given else self
        return own.model_copy(update=given)

    def at_rate(self, learning_rate: float) -> TrainRecipe:
        """The same with one step size for all networks."""
        return self.model_copy(update={"learning_rate": learning_rate, "learning_rate_large": None})

    @property
    def given(self) -> dict[str, Any]:
        """What differs from the common evaluation, as JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def num_epochs(self) -> int:
        """Epochs actually run: one more than named with the step schedule."""
        return self.epochs + 1 if self.schedule == "step" else self.epochs
