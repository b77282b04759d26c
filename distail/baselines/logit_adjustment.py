"""Logit adjustment in training: the loss expects τ times the log of the class shares.

L = CE(z + τ log π), and z alone is what the network answers. With τ = 1 this is balanced softmax.

Source: Menon et al., ICLR 2021, arXiv:2007.07314, equation 10.
"""

from typing import ClassVar

from pydantic import Field

from distail.baselines._baseline import Baseline
from distail.baselines._losses import shifted
from distail.baselines._task import Fitted, Task, train_whole
from distail.training.class_balance import log_prior
from distail.training.technique import Technique


class LogitAdjustment(Baseline):
    """The adjusted loss."""

    paper: ClassVar[str] = "Menon et al., ICLR 2021, arXiv:2007.07314"
    summary: ClassVar[str] = "a loss whose logits are shifted by the class shares"

    tau: float = Field(default=1.0, ge=0)
    """How strong the shift is; 0 is cross-entropy (paper: 1)."""

    def fit(self, task: Task) -> Fitted:
        """Trains by the adjusted loss."""
        loss = shifted(self.tau * log_prior(task.train.class_counts))
        return train_whole(task, Technique(loss=loss, takes_shares=True))
