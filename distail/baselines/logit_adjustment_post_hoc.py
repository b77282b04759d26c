"""Logit adjustment after plain training: τ times the log of the class shares is taken from the logits.

argmax_c z_c - τ log π_c; the shift is folded into the classifier's bias.

Source: Menon et al., ICLR 2021, arXiv:2007.07314, equation 9 (additive form).
"""

from typing import ClassVar

from pydantic import Field
from torch import nn

from distail.baselines._baseline import Baseline
from distail.baselines._classifier import fit_by_tau, work_by_tau
from distail.baselines._task import Fitted, Task
from distail.models.logit_changes import shift_logits
from distail.problem import Work
from distail.training.class_balance import log_prior
from distail.training.recipe import TrainRecipe


class LogitAdjustmentPostHoc(Baseline):
    """Plain training, and another bias."""

    paper: ClassVar[str] = "Menon et al., ICLR 2021, arXiv:2007.07314"
    summary: ClassVar[str] = "plain training, then logits shifted by the class shares"

    tau: float | None = Field(default=1.0, ge=0)
    """How strong the shift is (paper: 1); null chooses it from 0 to 2 on validation images."""
    refit: bool = False
    """Whether a network for which tau was chosen is trained again on all images."""

    @property
    def needs_validation(self) -> bool:
        """Where tau is to be chosen."""
        return self.tau is None

    def work(self, counts: tuple[int, ...], recipe: TrainRecipe) -> Work:
        """A network that is trained again passes all images twice as often."""
        return work_by_tau(self.tau, self.refit, counts, recipe)

    def fit(self, task: Task) -> Fitted:
        """Trains, and shifts the bias."""
        prior = log_prior(task.everything.class_counts)

        def change(classifier: nn.Linear, tau: float) -> None:
            shift_logits(classifier, -tau * prior)

        return fit_by_tau(task, self.tau, self.refit, change)
