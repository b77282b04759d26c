"""Square-root sampling: classes are drawn by p_c ∝ √n_c, between the data's own shares and equal ones.

Source: Mahajan et al., ECCV 2018, arXiv:1805.00932; as compared by Kang et al., arXiv:1910.09217.
"""

from typing import ClassVar

from pydantic import Field

from distail.baselines._baseline import Baseline
from distail.baselines._sampling import drawn_batches, power_probabilities
from distail.baselines._task import Fitted, Task, train_whole
from distail.training.technique import Technique


class SquareRootSampling(Baseline):
    """p_c ∝ n_c^ρ with ρ = ½; as many draws an epoch as there are images."""

    paper: ClassVar[str] = "Mahajan et al., ECCV 2018, arXiv:1805.00932"
    summary: ClassVar[str] = "draws classes by the square root of their size"

    rho: float = Field(default=0.5, ge=0, le=1)
    """Power of the class size: 1 draws images evenly, 0 classes (paper: ½)."""

    def fit(self, task: Task) -> Fitted:
        """Trains on drawn images."""
        probabilities = power_probabilities(task.train.class_counts, self.rho)
        draw = drawn_batches(task.train.labels, lambda epoch: probabilities, task.recipe.batch_size)
        return train_whole(task, Technique(batches=draw))
