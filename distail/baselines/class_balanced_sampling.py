"""Class-balanced sampling: every class is drawn equally often, and then one of its images.

Source: Kang et al., ICLR 2020, arXiv:1910.09217, section 3 (ρ = 0).
"""

from typing import ClassVar

from distail.baselines._baseline import Baseline
from distail.baselines._sampling import drawn_batches, power_probabilities
from distail.baselines._task import Fitted, Task, train_whole
from distail.training.technique import Technique


class ClassBalancedSampling(Baseline):
    """p_c = 1/C; as many draws an epoch as there are images, so that tail images come again and again."""

    paper: ClassVar[str] = "as in Kang et al., ICLR 2020, arXiv:1910.09217"
    summary: ClassVar[str] = "draws every class equally often"

    def fit(self, task: Task) -> Fitted:
        """Trains on drawn images."""
        probabilities = power_probabilities(task.train.class_counts, 0.0)
        draw = drawn_batches(task.train.labels, lambda epoch: probabilities, task.recipe.batch_size)
        return train_whole(task, Technique(batches=draw))
