"""SRe2L: images of noise, until batch normalisation of a trained network sees in them what it saw in real images.

Paper: Yin et al., Squeeze, Recover and Relabel, NeurIPS 2023, arXiv:2306.13092.
Equation: minimise CE(f(x̃), y) + r Σ_l a_l (‖μ_l − μ_l(x̃)‖ + ‖σ²_l − σ²_l(x̃)‖) over the images, l the inputs of batch
normalisation, μ_l and σ²_l its running statistics, x̃ rolled images (or random boxes of them), a = 10 for the first
layer. A batch holds one image of each class. The trained network then labels images, and views of them as students
train.
Deviations from the released code: the network is the problem's own with batch norm, where the paper has a ResNet-18
(`teacher.architecture=resnet18-batch`); pixels stay floats, where the code stores JPEG; stored soft labels are those of
the whole images. For ImageNet the paper stores the labels of all views; here the teacher goes with the set and labels
them. Students mix by MixUp with shares drawn evenly, where the paper draws from Beta(0.8, 0.8).
The long tail: running statistics are those of the long-tailed images, and nothing here corrects them.
Published: for CIFAR-10-LT, IPC 10 at imbalance 100, IPC 50 at imbalance 50 and 100: 22.6, 36.6, 34.6 (as a secondary
source quotes ADSA, another protocol and backbone than the tables of the other methods).
The defaults are those of CIFAR.
"""

from typing import ClassVar, Literal

from pydantic import Field

from distail.errors import DistailError
from distail.methods._method import Method
from distail.models import build_network
from distail.problem import Problem, Synthetic, Work
from distail.synthetic.batches import batches_of_all_classes
from distail.synthetic.initial import random_start
from distail.synthetic.layer_inputs import layers_of_kind
from distail.synthetic.recovery import (
    Observer,
    Recovery,
    RecoverySettings,
    Target,
    recover,
    recovery_work,
)
from distail.synthetic.relabel import ready, relabelled, relabelling_work
from distail.synthetic.statistics import running_statistics
from distail.teachers.spec import SRE2L_TEACHER, TeacherSpec
from distail.teachers.teaching import teach, teacher_architecture
from distail.teachers.work import teachers_work
from distail.training.recipe import TrainRecipe


class SRe2L(RecoverySettings, Method):
    """Recovery from the running statistics of batch normalisation."""

    paper: ClassVar[str] = "Yin et al., NeurIPS 2023, arXiv:2306.13092"
    summary: ClassVar[str] = "match running statistics of batch norm in a trained network, which labels the images"
    stores_soft_labels: ClassVar[bool] = True
    keeps_teacher: ClassVar[bool] = True
    batch_field: ClassVar[str | None] = "batch_size"

    iterations: int = Field(default=1000, ge=1)
    """Updates of every image (CIFAR: 1,000; Tiny-ImageNet and ImageNet: 4,000)."""
    image_lr: float = Field(default=0.25, gt=0)
    """Adam's step size on the preprocessed images, with cosine decay to zero (paper: 0.25; Tiny-ImageNet: 0.1)."""
    statistics_weight: float = Field(default=0.01, ge=0)
    """r, weight of the distance of statistics beside the cross-entropy (paper: 0.01; Tiny-ImageNet: 1)."""
    view: Literal["roll", "resized"] = "roll"
    """What the network sees of the images: rolled by an eighth of a side at most, or random boxes, enlarged, perhaps
    mirrored (CIFAR: roll; ImageNet: resized)."""
    teacher: TeacherSpec = SRE2L_TEACHER
    """The network that images are recovered from and labelled by (CIFAR: 200 epochs at 0.1)."""
    students: TrainRecipe = TrainRecipe(
        epochs=400,
        batch_size=128,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.01,
        schedule="cosine",
        augmentation="crop+flip",
        loss="divergence",
        temperature=30.0,
        mixing="mixup",
    )
    """How students are trained on the set (CIFAR: AdamW, 400 epochs, temperature 30)."""

    def work(self, problem: Problem) -> Work:
        """Training the teacher, the recovery and the labels."""
        architecture = teacher_architecture(problem, self.teacher)
        return (
            teachers_work(problem, [self.teacher])
            + recovery_work(problem, self, [architecture])
            + relabelling_work(problem, [architecture])
        )

    def distill(self, problem: Problem) -> Synthetic:
        """Trains the teacher, and descends from noise.

        Raises:
            DistailError: the teacher has no batch norm; or its loss, the recovery's or the images are no longer finite.
        """
        architecture = teacher_architecture(problem, self.teacher)
        plain = build_network(architecture, problem.train.image_shape, problem.num_classes, seed=0)
        if not layers_of_kind(plain, ("batch_norm",)):
            raise DistailError(
                f"sre2l aligns statistics of batch normalisation, and {architecture} has none. Choose a "
                "teacher with it, such as --set teacher.architecture=convnet3-batch."
            )
        teacher = teach(problem, self.teacher)
        network = ready(problem, teacher)
        wanted = running_statistics(network)
        recovery = Recovery(
            name="sre2l",
            settings=self,
            view=self.view,
            smoothing=0.0,
            observers=[Observer(network, ("batch_norm",), (Target(1.0, lambda labels: wanted),))],
            batches=batches_of_all_classes(problem, self.batch_size),
        )
        images = recover(problem, recovery, lambda: random_start(problem, "noise"))
        return relabelled(problem, images, teacher, self.students)
