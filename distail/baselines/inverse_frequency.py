"""Inverse-frequency weights: an image of class c counts 1/n_c, scaled to mean 1 over the images.

L = w_y CE(z), w_c ∝ 1/n_c. The oldest answer to imbalance; as compared by Cui et al., arXiv:1901.05555.
"""

from typing import ClassVar

from distail.baselines._baseline import Baseline
from distail.baselines._losses import inverse_frequency_weights, weighted
from distail.baselines._task import Fitted, Task, train_whole
from distail.training.technique import Technique


class InverseFrequency(Baseline):
    """Cross-entropy in which all classes together count alike."""

    paper: ClassVar[str] = "as in Cui et al., CVPR 2019, arXiv:1901.05555"
    summary: ClassVar[str] = "weighs images by one over their class' size"

    def fit(self, task: Task) -> Fitted:
        """Trains by the weighted loss."""
        counts = task.train.class_counts
        return train_whole(task, Technique(loss=weighted(inverse_frequency_weights(counts), counts)))
