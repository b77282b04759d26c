"""Cross-entropy on the images as they come: what every other baseline has to beat."""

from typing import ClassVar

from distail.baselines._baseline import Baseline
from distail.baselines._task import Fitted, Task, train_whole


class CrossEntropy(Baseline):
    """Plain training."""

    paper: ClassVar[str] = "baseline"
    summary: ClassVar[str] = "plain training, nothing against the long tail"

    def fit(self, task: Task) -> Fitted:
        """Trains."""
        return train_whole(task)
