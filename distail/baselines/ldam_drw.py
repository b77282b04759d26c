"""LDAM-DRW: larger margins for smaller classes, and class-balanced weights in the last fifth of training.

L = CE(s (cos - Δ_y at y)), Δ_c ∝ n_c^(-1/4) with the largest 0.5, and s = 30, on a cosine classifier; from 80% of the
epochs on, images are weighed by the class-balanced loss.

Source: Cao et al., NeurIPS 2019, arXiv:1906.07413, equation 13 and its released code. Deviations: the common
    recipe of all baselines (step size 0.01 falling as a cosine, weight decay 5e-4) instead of steps from 0.1 after
    160 and 180 of 200 epochs and weight decay 2e-4; weights have mean 1 over all images, not over each batch.
"""

from typing import ClassVar

import torch
from pydantic import Field

from distail.baselines._baseline import Baseline
from distail.baselines._losses import weighted, with_margins
from distail.baselines._task import Fitted, Task, train_whole
from distail.models.architecture import COSINE_SUFFIX
from distail.models.cosine import SCALE
from distail.training.class_balance import class_balanced_weights
from distail.training.technique import Technique


class LDAMDRW(Baseline):
    """Label-distribution-aware margins with deferred re-weighting; the network is called ARCH-cosine."""

    paper: ClassVar[str] = "Cao et al., NeurIPS 2019, arXiv:1906.07413"
    summary: ClassVar[str] = "larger margins for smaller classes, weights at the end"

    max_margin: float = Field(default=0.5, ge=0)
    """Margin of the smallest class, as a cosine (paper: 0.5)."""
    beta: float = Field(default=0.9999, ge=0, lt=1)
    """β of the class-balanced weights (paper: 0.9999)."""
    deferred: float = Field(default=0.8, ge=0, le=1)
    """Share of the epochs before the weights set in (paper: 160 of 200)."""

    def fit(self, task: Task) -> Fitted:
        """Trains a network with a cosine classifier."""
        counts = task.train.class_counts
        weights = class_balanced_weights(counts, self.beta)
        powers = torch.tensor(counts, dtype=torch.float64) ** -0.25
        margins = SCALE * self.max_margin * powers / powers.max()
        loss = with_margins(margins, weighted(weights, counts, round(self.deferred * task.recipe.num_epochs)))
        architecture = task.architecture.removesuffix(COSINE_SUFFIX) + COSINE_SUFFIX
        return train_whole(task, Technique(loss=loss), architecture)
