"""Classifier re-training (cRT): plain training, then a new classifier, trained with every class equally often.

Source: Kang et al., ICLR 2020, arXiv:1910.09217, and its released code (10 epochs, 4 images of a class a visit).
    Deviation: crop and flip as in stage one, on networks for small images.
"""

from typing import ClassVar

from pydantic import Field

from distail.baselines._baseline import Baseline
from distail.baselines._sampling import class_aware_batches
from distail.baselines._task import Fitted, Task, train_classifier, train_whole
from distail.models import build_network
from distail.problem import Work
from distail.seeding import derive_seed
from distail.training.recipe import TrainRecipe
from distail.training.technique import Technique


class CRT(Baseline):
    """The backbone learns from the data as they are, the classifier from balanced draws."""

    paper: ClassVar[str] = "Kang et al., ICLR 2020, arXiv:1910.09217"
    summary: ClassVar[str] = "plain training, then a new classifier on balanced draws"

    classifier_epochs: int = Field(default=10, ge=1)
    """Epochs of the second stage, of classes times largest class draws each (paper: 10)."""
    images_per_visit: int = Field(default=4, ge=1)
    """Images taken from a class each time its turn comes (paper: 4)."""

    def work(self, counts: tuple[int, ...], recipe: TrainRecipe) -> Work:
        """The second stage passes class-aware draws forward; its backward pass ends at the classifier."""
        second = self.classifier_epochs * len(counts) * max(counts)
        return Work(forward=second, forward_backward=recipe.num_epochs * sum(counts))

    def fit(self, task: Task) -> Fitted:
        """Trains in two stages."""
        fitted = train_whole(task)
        saved = fitted.saved
        seed = derive_seed(task.seed, "new classifier")
        new = build_network(saved.architecture, saved.image_shape, len(saved.class_names), seed)
        saved.network.classifier.load_state_dict(new.classifier.state_dict())
        recipe = task.recipe.model_copy(update={"epochs": self.classifier_epochs, "schedule": "cosine", "warmup": 0.0})
        draw = class_aware_batches(task.train, self.images_per_visit, recipe.batch_size)
        return train_classifier(task, fitted, recipe, Technique(batches=draw))
