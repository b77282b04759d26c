"""Progressively balanced sampling: from the data's own class shares to equal ones, evenly over the epochs.

p_c(t) = (1 - t/T) n_c/N + t/T · 1/C.

Source: Kang et al., ICLR 2020, arXiv:1910.09217, equation 2. Deviation: T is the number of the last epoch, counted from
    0, instead of the number of epochs, so that the last epoch is balanced.
"""

from typing import ClassVar

from distail.baselines._baseline import Baseline
from distail.baselines._sampling import drawn_batches, progressive_probabilities
from distail.baselines._task import Fitted, Task, train_whole
from distail.training.technique import Technique


class ProgressiveSampling(Baseline):
    """Images drawn evenly at first, classes at last."""

    paper: ClassVar[str] = "Kang et al., ICLR 2020, arXiv:1910.09217"
    summary: ClassVar[str] = "draws images evenly at first, classes at last"

    def fit(self, task: Task) -> Fitted:
        """Trains on drawn images."""
        probabilities = progressive_probabilities(task.train.class_counts, task.recipe.num_epochs)
        return train_whole(
            task, Technique(batches=drawn_batches(task.train.labels, probabilities, task.recipe.batch_size))
        )
