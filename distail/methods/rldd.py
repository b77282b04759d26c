"""RLDD: EDC's recovery and relabelling with a debiased network, statistics that count classes alike, and chosen crops.

Paper: A Uni-Level Framework with Unbiased Recovery and Relabeling, AAAI 2026.
Equation: minimise CE(f(x̃), y) + r Σ_l a_l ½ (‖m_F − m_l‖ + ‖v_F − v_l‖ + ‖m_Y − m_l‖ + ‖v_Y − v_l‖) over the images,
f one network trained against the long tail (GLMC with class weights that sum to 1), l the inputs of its convolutions
(channels, and patches of 4x4) and of batch normalisation (channels), m_l and v_l the smoothed statistics of views x̃ of
a batch, m_F and v_F the unweighted mean over classes of the exact mean and variance of each class, m_Y and v_Y the same
over the classes in the batch. a = 10 for the first layer. Images start as crops of which f is most sure, chosen in
rounds (`distail/synthetic/crops.py`). f labels images, and views of them as students train.

The authors' code could not be read whole; these follow the paper, the scripts, and a third party's fork of it.
Deviations from that fork: variances are E[x²] − μ² of a class, as in the paper, where the fork takes the mean of
variances within an image; batch normalisation is measured with equal classes too, where the fork takes running
statistics; sums are divided by what is there, where the fork divides by 50,000; the smoothing stays what it is, where
one process of the fork overwrites it; statistics are those of images as they are, where the fork crops and mirrors
them. The network is the problem's own with batch norm, where the fork's has instance norm. Images stay floats, where
the code stores JPEG.
CE with the class is in all released commands and not in the paper's equation.
Published for CIFAR-10-LT, IPC 10/20/50 (table 1): imbalance 10: 63.6/68.3/74.1; imbalance 50: 62.9/67.3/70.6; imbalance
100: 62.7/66.4/68.8; IPC 1: 44.8. Students learn from a teacher in the loop there, by all that can be told, and the best
test accuracy of the last epochs is reported; here the last epoch counts.
The defaults are those of CIFAR-10, IPC 10.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor

from distail.methods._method import Method
from distail.models import Network
from distail.problem import Problem, Synthetic, Work
from distail.synthetic.batches import class_sorted_batches
from distail.synthetic.crops import confident_crops, crops_work
from distail.synthetic.recovery import (
    Observer,
    Recovery,
    RecoverySettings,
    Target,
    recover,
    recovery_work,
)
from distail.synthetic.relabel import ready, relabelled, relabelling_work
from distail.synthetic.statistics import class_moments, statistics_work
from distail.synthetic.views import ViewKind
from distail.teachers.spec import TeacherSpec
from distail.teachers.teaching import teach, teacher_architecture
from distail.teachers.work import teachers_work
from distail.training.recipe import TrainRecipe

_GLMC: dict[str, Any] = {
    "label_exponent": 0.8,
    "weights_sum_to": "one",
    "stop_gradient": "prediction",
    "consistency": 1.0,
    "debias": 1.0,
}
"""RLDD's own form of GLMC."""


class RLDD(RecoverySettings, Method):
    """Recovery from class-fair layer statistics of a debiased network."""

    paper: ClassVar[str] = "A Uni-Level Framework with Unbiased Recovery and Relabeling, AAAI 2026"
    summary: ClassVar[str] = "match layer statistics that count classes alike, in a network against the long tail"
    stores_soft_labels: ClassVar[bool] = True
    keeps_teacher: ClassVar[bool] = True
    batch_field: ClassVar[str | None] = "batch_size"

    smoothing: float = Field(default=0.8, ge=0, lt=1)
    """α, what running statistics of a batch keep at each step (paper: 0.8)."""
    view: ViewKind = "crop"
    """What the network sees of the images: moved ones, or random boxes, mirrored half of the time (CIFAR-10: crop;
    CIFAR-100 and Tiny-ImageNet: resized)."""
    smallest_crop: float = Field(default=0.5, gt=0, le=1)
    """Smallest share of an image's area in views of the kind 'resized' (CIFAR-100: 0.5)."""
    statistics_batch: int = Field(default=64, ge=1)
    """Real images measured at once, which does not change the result (EDC: 64)."""
    crops_per_image: int = Field(default=5, ge=1)
    """Boxes that are tried in each real image to start from (name of the authors' script: 5)."""
    max_images: int | None = Field(default=5000, ge=1)
    """Real images of each class of which crops are taken, chosen at random; all when null (CIFAR-10: 5,000; others:
    500)."""
    smallest_start: float = Field(default=0.08, gt=0, le=1)
    """Smallest share of an image's area that such a box takes (RDED: 0.08)."""
    teacher: TeacherSpec = TeacherSpec(
        baseline="glmc",
        settings=_GLMC,
        train={"epochs": 200, "batch_size": 64},
    )
    """The network that images are recovered from and labelled by (CIFAR-10: 200 epochs, batches of 64, q = 0.8; a
    fork: debias 0.5 on CIFAR-100; step size and weight decay are not stated, and GLMC's)."""
    students: TrainRecipe = TrainRecipe(
        epochs=1000,
        batch_size=25,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.01,
        schedule="late_steps",
        augmentation="rand+resized+flip",
        smallest_crop=0.08,
        loss="squared_error",
        hard_weight=0.025,
        mixing="cutmix",
        average=0.99,
    )
    """How students are trained on the set (CIFAR-10: AdamW, 1,000 epochs, squared error of logits, moving average 0.99;
    CIFAR-100 and Tiny-ImageNet: SGD at 0.1 in batches of 100, boxes from half of the area). RandAugment and the boxes
    are those of EDC's code, which students of RLDD go through."""

    @field_validator("teacher", mode="before")
    @classmethod
    def _without_settings_of_glmc(cls, teacher: Any) -> Any:
        """What the default fills in for GLMC is taken out again where another baseline is named."""
        if isinstance(teacher, Mapping) and teacher.get("baseline", "glmc") != "glmc":
            given = dict(teacher.get("settings", {}))
            return {**teacher, "settings": {name: given[name] for name in given if given[name] != _GLMC.get(name)}}
        return teacher

    def work(self, problem: Problem) -> Work:
        """Training the network, judging crops, measuring statistics, the recovery and the labels."""
        architectures = [teacher_architecture(problem, self.teacher)]
        judged = crops_work(problem, architectures[0], crops_per_image=self.crops_per_image, max_images=self.max_images)
        return (
            teachers_work(problem, [self.teacher])
            + judged
            + statistics_work(problem, architectures, self.statistics_batch)
            + recovery_work(problem, self, architectures)
            + relabelling_work(problem, architectures)
        )

    def distill(self, problem: Problem) -> Synthetic:
        """Trains the network, measures it, and descends from crops.

        Raises:
            DistailError: the network's loss, the recovery's or the images are no longer finite.
        """
        teacher = teach(problem, self.teacher)
        network = ready(problem, teacher)
        moments = class_moments(problem, network, self.statistics_batch)
        over_classes = moments.over_classes()
        targets = Target(0.5, lambda labels: over_classes), Target(0.5, moments.of_labels)
        recovery = Recovery(
            name="rldd",
            settings=self,
            view=self.view,
            smoothing=self.smoothing,
            observers=[Observer(network, ("convolution", "batch_norm"), targets)],
            batches=class_sorted_batches(problem, self.batch_size),
        )
        images = recover(problem, recovery, lambda: self._start(problem, network))
        return relabelled(problem, images, teacher, self.students)

    def _start(self, problem: Problem, network: Network) -> Float[Tensor, "n c h w"]:
        return confident_crops(
            problem,
            network,
            crops_per_image=self.crops_per_image,
            max_images=self.max_images,
            smallest=self.smallest_start,
        )
