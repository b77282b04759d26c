"""Classifier re-training (cRT): plain training, then a new classifier, trained with every class equally often.

Source: Kang et al., ICLR 2020, arXiv:1910.09217, and its released code (10 epochs, 4 images of a class a visit).
    Deviation: crop and flip as in stage one, on networks for small images.
"""

from typing import ClassVar

from distail.baselines._baseline import Baseline
from distail.baselines._sampling import ClassAwareSettings, class_aware_batches, work_of_stages
from distail.baselines._task import Fitted, Task, train_classifier, train_whole
from distail.models import build_network
from distail.problem import Work
from distail.seeding import derive_seed
from distail.training.recipe import TrainRecipe
from distail.training.technique import Technique


class CRT(ClassAwareSettings, Baseline):
    """The backbone learns from the data as they are, the classifier from balanced draws."""

    paper: ClassVar[str] = "Kang et al., ICLR 2020, arXiv:1910.09217"
    summary: ClassVar[str] = "plain training, then a new classifier on balanced draws"

    def work(self, counts: tuple[int, ...], recipe: TrainRecipe) -> Work:
        """A second stage on class-aware draws comes after training on all images."""
        return work_of_stages(self.classifier_epochs, counts, recipe)

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
