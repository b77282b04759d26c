"""Balanced softmax: the loss expects the long tail, so that the network need not learn it.

L = CE(z + log n), and z alone is what the network answers.

Source: Ren et al., NeurIPS 2020, arXiv:2007.10740, equation 4; without its meta sampler.
"""

from typing import ClassVar

from distail.baselines._baseline import Baseline
from distail.baselines._losses import shifted
from distail.baselines._task import Fitted, Task, train_whole
from distail.training.class_balance import log_prior
from distail.training.technique import Technique


class BalancedSoftmax(Baseline):
    """Softmax weighted by class sizes in training, and plain afterwards."""

    paper: ClassVar[str] = "Ren et al., NeurIPS 2020, arXiv:2007.10740"
    summary: ClassVar[str] = "a softmax that takes the class sizes into account"

    def fit(self, task: Task) -> Fitted:
        """Trains by the balanced loss."""
        # log n and log π differ by a constant, which softmax does not see.
        return train_whole(task, Technique(loss=shifted(log_prior(task.train.class_counts)), takes_shares=True))
