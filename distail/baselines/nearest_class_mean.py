"""Nearest class mean (NCM): plain training, then an image gets the class whose mean feature is most like its own.

By cosine: argmax_c f · m_c / ‖m_c‖. By Euclidean distance: argmax_c f · m_c - ‖m_c‖²/2. Both are linear in f, so they
are the new classifier, exactly. Its logits say which class is nearest and are no log-probabilities.

Source: Kang et al., ICLR 2020, arXiv:1910.09217, section 4. Deviation: the Euclidean distance is that of the features
    themselves, as on unit features it decides like the cosine.
"""

from typing import ClassVar, Literal

import torch

from distail.baselines._baseline import Baseline
from distail.baselines._task import Fitted, Task, train_whole
from distail.models.embedding import embedded_by
from distail.problem import Work
from distail.training.recipe import TrainRecipe


class NearestClassMean(Baseline):
    """A classifier without training, in which class sizes have no say."""

    paper: ClassVar[str] = "Kang et al., ICLR 2020, arXiv:1910.09217"
    summary: ClassVar[str] = "plain training, then the class with the nearest mean feature"

    distance: Literal["cosine", "euclidean"] = "cosine"
    """What near means (paper: either, whichever is better)."""

    def work(self, counts: tuple[int, ...], recipe: TrainRecipe) -> Work:
        """Every image passes once more, forward."""
        return Work(forward=sum(counts), forward_backward=recipe.num_epochs * sum(counts))

    def fit(self, task: Task) -> Fitted:
        """Trains, and puts class means in the classifier's place."""
        fitted = train_whole(task)
        classifier = fitted.saved.network.classifier
        fitted.saved.network.require_linear_classifier("The nearest class mean")
        features = embedded_by(fitted.saved, task.train.images, task.runtime).embeddings
        labels = range(task.train.num_classes)
        means = torch.stack([features[task.train.indices_of(label)].mean(dim=0) for label in labels])
        with torch.no_grad():
            if self.distance == "cosine":
                classifier.weight.copy_(means / means.norm(dim=1, keepdim=True).clamp_min(1e-12))
                classifier.bias.zero_()
            else:
                classifier.weight.copy_(means)
                classifier.bias.copy_(-means.square().sum(dim=1) / 2)
        return fitted
