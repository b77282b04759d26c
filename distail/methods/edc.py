"""EDC: real images, moved until layers of several trained networks see in them what they see in all real images.

Paper: Shao et al., Elucidating the Design Space of Dataset Condensation, NeurIPS 2024, arXiv:2404.13733.
Equation: minimise CE(f(x̃), y) + r Σ_l a_l ½ (‖m_G − m_l‖ + ‖v_G − v_l‖ + ‖m_Y − m_l‖ + ‖v_Y − v_l‖) over the images,
f one of the networks in turn, l the inputs of its convolutions (channels, and patches of 4x4) and of batch
normalisation (channels), m_l and v_l the smoothed statistics of random boxes x̃ of a batch, m_G and v_G those of all
real images, m_Y and v_Y those of the classes in the batch. a = 10 for the first layer. The mean of the networks' logits
labels images, and views of them as students train.

Deviations from the released code: m_G of convolutions is a mean over the images there are, where the code divides by
50,000, and that of batch normalisation is measured anew, where the code takes running statistics; means and variances
of a class's patches are not exchanged; variances of a class are those of all its pixels, where the code takes the mean
of variances within an image, which no batch can have; statistics are those of images as they are, where the code crops
and mirrors them; running means begin with the first batch, where the code begins with zero, and each batch has its own.
Images stay floats, where the code stores JPEG. The eight networks of CIFAR-10 are ResNet-18, that of the problem (there
ConvNet-3), MobileNetV2, WRN-16-2, ShuffleNetV2 of width 0.5, ConvNets of depth 1 and 2, and one of width 32, all with
batch norm. MobileNetV2 and ShuffleNetV2 are the variants usual for CIFAR: the files of networks that the code imports
were not released with it, and G-VBSM, by the same authors, has a MobileNetV2 of half the width whose stem has stride 2,
and a ShuffleNetV2 whose stem is 1x1. The flatness term, off in the released commands, is left out.
Students see RandAugment (two operations of magnitude 9, torchvision's defaults, on 8-bit pixels), a random box and a
flip, in this order, as in the code's `direct_train.py`; its boxes of large areas are rarer than ours.
The long tail: m_G counts every image alike, so that it is that of the head classes.
Published for CIFAR-10-LT, IPC 10/20/50 (the tables of RLDD, which ran it anew): imbalance 10: 56.4/62.7/68.5; imbalance
50: 55.2/60.2/64.1; imbalance 100: 53.2/57.4/60.5. Students learn from a teacher in the loop there, and the best test
accuracy of the last epochs is reported; here the last epoch counts.
The defaults are those of CIFAR-10.
"""

from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from distail.methods._method import Method
from distail.models import Network, build_network
from distail.models.saved import SavedNetwork
from distail.problem import Problem, Synthetic, Work
from distail.synthetic.batches import class_sorted_batches
from distail.synthetic.crops import confident_crops, crops_work
from distail.synthetic.initial import random_start
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
from distail.teachers.ensemble import ensemble_of
from distail.teachers.spec import TeacherSpec
from distail.teachers.teaching import teach, teacher_architecture
from distail.teachers.work import teachers_work
from distail.training.recipe import TrainRecipe

_CROPS = 5
_MOST_IMAGES = 300
"""Of RDED, whose images the paper begins with on ImageNet and Tiny-ImageNet."""
_NETWORKS = (
    *("resnet18-batch", None, "mobilenetv2-batch", "wrn16-2-batch", "shufflenetv2-batch"),
    *("convnet1-batch", "convnet2-batch", "convnet3-w32-batch"),
)
"""In the order in which they take turns; None is the network of the problem."""


def _observer(architecture: str | None) -> TeacherSpec:
    """As the script of the released code names it: 5 epochs, on purpose.

    What that code then loads is the file of an epoch that 10 divides, so of the first; here it is the last.
    """
    return TeacherSpec(
        architecture=architecture,
        train={
            "epochs": 5,
            "batch_size": 64,
            "learning_rate": 0.05,
            "momentum": 0.9,
            "weight_decay": 0.0,
            "schedule": "constant",
            "warmup": 0.0,
            "augmentation": "crop+flip",
        },
    )


class EDC(RecoverySettings, Method):
    """Recovery from layer statistics of several networks."""

    paper: ClassVar[str] = "Shao et al., NeurIPS 2024, arXiv:2404.13733"
    summary: ClassVar[str] = "match layer statistics of all images and of classes in several trained networks"
    stores_soft_labels: ClassVar[bool] = True
    keeps_teacher: ClassVar[bool] = True
    batch_field: ClassVar[str | None] = "batch_size"

    smoothing: float = Field(default=0.8, ge=0, lt=1)
    """α, what running statistics of a batch keep at each step (paper: 0.8)."""
    view: ViewKind = "resized"
    """What networks see of the images (paper: resized)."""
    initial_images: Literal["random", "confident"] = "random"
    """Real images drawn at random, or crops of which the networks are most sure, as in RDED (CIFAR: random; ImageNet
    and Tiny-ImageNet: confident)."""
    statistics_batch: int = Field(default=64, ge=1)
    """Real images measured at once, which does not change the result (paper: 64)."""
    observers: tuple[TeacherSpec, ...] = Field(
        default=tuple(map(_observer, _NETWORKS)),
        min_length=1,
    )
    """Networks that take turns, and whose mean logits label (CIFAR-10: eight, 5 epochs each at 0.05)."""
    students: TrainRecipe = TrainRecipe(
        epochs=1000,
        batch_size=50,
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
    CIFAR-100 and Tiny-ImageNet: SGD at 0.1, and boxes of half the area at least)."""

    def work(self, problem: Problem) -> Work:
        """Training the networks, measuring statistics, the recovery and the labels."""
        architectures = [teacher_architecture(problem, spec) for spec in self.observers]
        work = teachers_work(problem, self.observers) + recovery_work(problem, self, architectures)
        work += statistics_work(problem, architectures, self.statistics_batch)
        if self.initial_images == "confident":
            for architecture in architectures:
                work += crops_work(problem, architecture, crops_per_image=_CROPS, max_images=_MOST_IMAGES)
        return work + relabelling_work(problem, architectures)

    def distill(self, problem: Problem) -> Synthetic:
        """Trains the networks, measures them, and descends from real images.

        Raises:
            DistailError: a network's loss, the recovery's or the images are no longer finite; or the classifier of one
                of several networks is not linear.
        """
        for spec in self.observers if len(self.observers) > 1 else ():  # before hours of training
            shape, architecture = problem.train.image_shape, teacher_architecture(problem, spec)
            build_network(architecture, shape, problem.num_classes, seed=0).require_linear_classifier("edc")
        taught = [teach(problem, spec) for spec in self.observers]
        teacher = ensemble_of(taught)
        recovery = Recovery(
            name="edc",
            settings=self,
            view=self.view,
            smoothing=self.smoothing,
            observers=[self._watched(problem, ready(problem, one)) for one in taught],
            batches=class_sorted_batches(problem, self.batch_size),
        )
        images = recover(problem, recovery, lambda: self._start(problem, teacher))
        return relabelled(problem, images, teacher, self.students)

    def _start(self, problem: Problem, teacher: SavedNetwork) -> Float[Tensor, "n c h w"]:
        if self.initial_images == "random":
            return random_start(problem, "real")
        return confident_crops(
            problem,
            ready(problem, teacher),
            crops_per_image=_CROPS,
            max_images=_MOST_IMAGES,
            smallest=self.smallest_crop,
        )

    def _watched(self, problem: Problem, network: Network) -> Observer:
        moments = class_moments(problem, network, self.statistics_batch)
        over_images = moments.over_images()
        targets = Target(0.5, lambda labels: over_images), Target(0.5, moments.of_labels)
        return Observer(network, ("convolution", "batch_norm"), targets)
