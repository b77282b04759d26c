"""Learnable weight scaling (LWS): plain training, then one factor for each class' logit, learned on balanced draws.

s_c (w_c · f + b_c), with only s trained, from 1; folded into weight and bias.

Source: Kang et al., ICLR 2020, arXiv:1910.09217, equation 4, and its released code (10 epochs, the bias scaled too).
    Deviation: no weight decay on the factors, which would pull them to 0 and not to 1.
"""

from typing import ClassVar

from distail.baselines._baseline import Baseline
from distail.baselines._classifier import ScaledClassifier
from distail.baselines._sampling import ClassAwareSettings, class_aware_batches, work_of_stages
from distail.baselines._task import Fitted, Task, require_linear_classifier, train_classifier, train_whole
from distail.models.logit_changes import scale_logits
from distail.problem import Work
from distail.training.recipe import TrainRecipe
from distail.training.technique import Technique


class LWS(ClassAwareSettings, Baseline):
    """The direction of each class' weight stays, its length is learned anew."""

    paper: ClassVar[str] = "Kang et al., ICLR 2020, arXiv:1910.09217"
    summary: ClassVar[str] = "plain training, then one learned factor a class"

    def work(self, counts: tuple[int, ...], recipe: TrainRecipe) -> Work:
        """A second stage on class-aware draws comes after training on all images."""
        return work_of_stages(self.classifier_epochs, counts, recipe)

    def fit(self, task: Task) -> Fitted:
        """Trains in two stages, and folds the factors in."""
        require_linear_classifier(task, "LWS")
        fitted = train_whole(task)
        network = fitted.saved.network
        plain = network.classifier
        network.classifier = scaled = ScaledClassifier(plain)
        changes = {"epochs": self.classifier_epochs, "schedule": "cosine", "warmup": 0.0, "weight_decay": 0.0}
        recipe = task.recipe.model_copy(update=changes)
        draw = class_aware_batches(task.train, self.images_per_visit, recipe.batch_size)
        fitted = train_classifier(task, fitted, recipe, Technique(batches=draw))
        network.classifier = plain.requires_grad_(True)
        scale_logits(plain, scaled.factors.detach())
        return fitted
