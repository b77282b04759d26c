"""Class-balanced loss: images weighed by one over the effective number of their class' images.

L = w_y CE(z), w_c ∝ (1 - β) / (1 - β^n_c), scaled to mean 1 over the images.

Source: Cui et al., CVPR 2019, arXiv:1901.05555, equation 3. Deviations: softmax cross-entropy alone, of the three
    losses that the paper weighs; there weights sum to the number of classes.
"""

from typing import ClassVar

from pydantic import Field

from distail.baselines._baseline import Baseline
from distail.baselines._losses import weighted
from distail.baselines._task import Fitted, Task, train_whole
from distail.training.class_balance import class_balanced_weights
from distail.training.technique import Technique


class ClassBalancedLoss(Baseline):
    """Weights between none (β = 0) and inverse frequency (β → 1)."""

    paper: ClassVar[str] = "Cui et al., CVPR 2019, arXiv:1901.05555"
    summary: ClassVar[str] = "weighs images by one over their class' effective size"

    beta: float = Field(default=0.9999, ge=0, lt=1)
    """How far images add to each other (paper: 0.9, 0.99, 0.999 or 0.9999, by data set)."""

    def fit(self, task: Task) -> Fitted:
        """Trains by the weighted loss."""
        counts = task.train.class_counts
        return train_whole(task, Technique(loss=weighted(class_balanced_weights(counts, self.beta), counts)))
