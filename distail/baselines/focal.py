"""Focal loss: images that the network is sure of count for less.

L = (1 - p_y)^γ CE(z), with p = softmax(z).

Source: Lin et al., ICCV 2017, arXiv:1708.02002, equation 4. Deviation: softmax over classes, as long-tail papers
    take it, instead of a sigmoid for each box.
"""

from typing import ClassVar

from pydantic import Field

from distail.baselines._baseline import Baseline
from distail.baselines._losses import focal
from distail.baselines._task import Fitted, Task, train_whole
from distail.training.technique import Technique


class Focal(Baseline):
    """Hard images first, of whatever class."""

    paper: ClassVar[str] = "Lin et al., ICCV 2017, arXiv:1708.02002"
    summary: ClassVar[str] = "images that are classified well count for less"

    gamma: float = Field(default=2.0, ge=0)
    """How much less; 0 is cross-entropy (paper: 2; long-tail papers: 0.5 to 2)."""

    def fit(self, task: Task) -> Fitted:
        """Trains by the focal loss."""
        return train_whole(task, Technique(loss=focal(self.gamma)))
