"""τ-normalisation: plain training, then every class' logit is divided by a power of the length of its weight.

z_c / ‖w_c‖^τ, folded into weight and bias. Networks give large classes long weights; τ = 0 leaves the network as it is.

Source: Kang et al., ICLR 2020, arXiv:1910.09217, equation 3; τ scanned from 0 to 2 as in the released code.
    Deviation: the paper drops the bias; here it is divided as well, so that τ = 0 is the network itself.
"""

from typing import ClassVar

from pydantic import Field
from torch import nn

from distail.baselines._baseline import Baseline
from distail.baselines._classifier import fit_by_tau, work_by_tau
from distail.baselines._task import Fitted, Task
from distail.models.logit_changes import scale_logits
from distail.problem import Work
from distail.training.recipe import TrainRecipe


class TauNorm(Baseline):
    """Plain training, and rows of more equal length."""

    paper: ClassVar[str] = "Kang et al., ICLR 2020, arXiv:1910.09217"
    summary: ClassVar[str] = "plain training, then class weights of more equal length"

    tau: float | None = Field(default=None, ge=0)
    """How equal: 0 not at all, 1 fully; null, as in the paper, chooses it from 0 to 2 on validation images."""
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
        """Trains, and divides weight and bias."""
        return fit_by_tau(task, self.tau, self.refit, normalise)


def normalise(classifier: nn.Linear, tau: float) -> None:
    """Divides each class' logit by the τ-th power of the length of its row, in place."""
    lengths = classifier.weight.detach().norm(dim=1).clamp_min(1e-12)
    scale_logits(classifier, lengths**-tau)
