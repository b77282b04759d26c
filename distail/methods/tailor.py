"""Tailor: real images fitted, class by class, to what a network against the long tail sees in all images of the class.

Ours. A network with batch norm learns from all long-tailed images against their tail. Images start as the real ones
nearest to the centres of k-means in its features, IPC of each class, and descend on

    CE(f(x̃), y) + r Σ_l mean_{c,d} ((m_cd − M_cd)² + (s_cd − S_cd)²) / V_d

over random views x̃ of them: l runs over the inputs of its convolutions and of its batch normalisation, m_c and s_c are
means and standard deviations of the channels d over the views of class c, M_c and S_c those over the real images of the
class, and V the variance within classes, averaged over them. RLDD and EDC compare whole batches instead, by norms: what
tells classes apart is averaged out there. The network labels the images, and stored views of them. A pilot student of
it is asked about all real images first, and all labels are shifted so that students favour no class among them.

What was tried, and what each part gives, is in docs/own_method.md.
"""

import math
from typing import ClassVar, Literal, NamedTuple

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from distail.data.labelled_views import bytes_of_view
from distail.methods._method import Method
from distail.models import Network
from distail.problem import Problem, Synthetic, Work
from distail.synthetic.batches import whole_class_batches
from distail.synthetic.clusters import nearest_real_images, nearest_work
from distail.synthetic.distances import standardised
from distail.synthetic.initial import random_start
from distail.synthetic.recovery import Observer, Recovery, RecoverySettings, Target, recover, recovery_work
from distail.synthetic.relabel import ready, relabelled, relabelling_work
from distail.synthetic.statistics import Statistics, class_moments, statistics_work
from distail.teachers.balancing import balanced_teacher, balancing_work
from distail.teachers.spec import TeacherSpec
from distail.teachers.teaching import teach, teacher_architecture
from distail.teachers.work import teachers_work
from distail.training.recipe import TrainRecipe

_VIEWS = 100
"""On CIFAR-10-LT as good as asking the network (docs/own_method.md)."""
_RATE_OF_LARGE = 0.1
"""of the step size of ConvNets, by which AlexNet, VGG-11 and ResNet-18 hardly learn."""
_LEAST_ROOM = 4 * 2**20
"""Bytes that labels may take, however few images there are."""
_FEW = 3
"""Images a class up to which what suits one image is taken, above it what suits ten: the nearer of both by ratio."""


class _Choices(NamedTuple):
    """What depends on the number of images, where the settings leave it open (docs/own_method.md)."""

    iterations: int
    statistics_weight: float
    smallest_crop: float
    rand_augment: bool


_OF_FEW = _Choices(iterations=1000, statistics_weight=1.0, smallest_crop=0.08, rand_augment=True)
_OF_MANY = _Choices(iterations=300, statistics_weight=10.0, smallest_crop=0.35, rand_augment=False)


class _Alignment(RecoverySettings):
    """Settings of the descent, in which images may stay as they are."""

    iterations: int = Field(ge=0)


class Tailor(Method):
    """Class-wise alignment of covering real images, with labelled views."""

    paper: ClassVar[str] = "distail's own"
    summary: ClassVar[str] = "real images fitted to the layer statistics of their class, with labelled views"
    stores_soft_labels: ClassVar[bool] = True
    keeps_teacher: ClassVar[bool] = True
    batch_field: ClassVar[str | None] = "batch_size"

    iterations: int | None = Field(default=None, ge=0)
    """Updates of every image; 0 leaves real images as they are, null: 1,000 for up to 3 images a class, else 300."""
    start: Literal["nearest", "random"] = "nearest"
    """Images to begin with: those nearest to the centres of clusters of their class, or any."""
    batch_size: int = Field(default=500, ge=1)
    """Images that are updated together; more, where a single class has more. It does not change what is aimed at."""
    image_lr: float = Field(default=0.02, gt=0)
    """Adam's step size on the preprocessed images, with cosine decay to zero."""
    statistics_weight: float | None = Field(default=None, ge=0)
    """r, weight of the distance of statistics beside the cross-entropy; null: 1 for up to 3 images a class, else 10."""
    first_layer_weight: float = Field(default=1.0, ge=0)
    """Weight of the first layer's distance; 1 for all others."""
    smallest_crop: float | None = Field(default=None, gt=0, le=1)
    """Smallest share of an image's area in the views that are aligned; null: 0.08 for up to 3 images a class, else
    0.35."""
    statistics_batch: int = Field(default=250, ge=1)
    """Real images measured at once, which does not change the result."""
    views: int | None = Field(default=None, ge=0)
    """Views of each image that are stored with a label each; 0 stores one label an image, null 100 views, or as many as
    take no more bytes than the images, or than 4 MiB."""
    pilot_steps: int = Field(default=3000, ge=0)
    """Steps of a student that shows which classes students will favour, against which all labels are shifted; whole
    epochs, and no more of them than `students.epochs`. 0 leaves labels as the network gives them."""
    teacher: TeacherSpec = TeacherSpec(
        baseline="balanced_softmax",
        train={
            "epochs": 60,
            "batch_size": 128,
            "learning_rate": 0.1,
            "weight_decay": 5e-4,
            "schedule": "one_cycle",
            "augmentation": "crop+flip",
            "mixing": "cutmix",
            "mixing_probability": 0.5,
        },
    )
    """The network that images are aligned by and labelled by."""
    students: TrainRecipe = TrainRecipe(
        epochs=1000,
        batch_size=10,
        optimizer="adamw",
        learning_rate=2e-3,
        weight_decay=0.01,
        schedule="cosine",
        augmentation="resized+flip",
        smallest_crop=0.08,
        loss="squared_error",
        mixing="cutmix",
        average=0.99,
    )
    """How students are trained on the set. Networks of over a million weights take a tenth of the step size, unless
    `learning_rate_large` says how large a step."""
    rand_augment: bool | None = None
    """Whether RandAugment comes before the augmentation of students that ask the network; null: for up to 3 images a
    class."""

    def work(self, problem: Problem) -> Work:
        """Training the network, choosing images, measuring statistics, the descent and the labels."""
        architectures = [teacher_architecture(problem, self.teacher)]
        return (
            teachers_work(problem, [self.teacher])
            + (nearest_work(problem, architectures[0]) if self.start == "nearest" else Work())
            + statistics_work(problem, architectures, self.statistics_batch)
            + recovery_work(problem, self._alignment(problem), architectures)
            + (balancing_work(problem, architectures[0], self._pilot(problem)) if self.pilot_steps else Work())
            + relabelling_work(problem, architectures, self._students(problem), self.num_views(problem))
        )

    def _choices(self, problem: Problem) -> _Choices:
        suitable = _OF_FEW if problem.images_per_class <= _FEW else _OF_MANY
        said = {name: value for name in _Choices._fields if (value := getattr(self, name)) is not None}
        return suitable._replace(**said)

    def _alignment(self, problem: Problem) -> _Alignment:
        choices = self._choices(problem)
        return _Alignment(
            iterations=choices.iterations,
            batch_size=max(self.batch_size, problem.images_per_class),
            image_lr=self.image_lr,
            statistics_weight=choices.statistics_weight,
            first_layer_weight=self.first_layer_weight,
            smallest_crop=choices.smallest_crop,
        )

    def _students(self, problem: Problem) -> TrainRecipe:
        recipe = self.students
        changes: dict[str, float | str] = {}
        if recipe.learning_rate_large is None:
            changes["learning_rate_large"] = _RATE_OF_LARGE * recipe.learning_rate
        if self._choices(problem).rand_augment and "rand" not in recipe.augmentation:
            changes["augmentation"] = f"rand+{recipe.augmentation}"
        return recipe.model_copy(update=changes)

    def _pilot(self, problem: Problem) -> TrainRecipe:
        steps_of_epoch = math.ceil(problem.num_classes * problem.images_per_class / self.students.batch_size)
        epochs = min(self.students.epochs, math.ceil(self.pilot_steps / steps_of_epoch))
        return self._students(problem).model_copy(update={"epochs": epochs})

    def num_views(self, problem: Problem) -> int:
        """Views of each image."""
        if self.views is not None:
            return self.views
        images = problem.num_classes * problem.images_per_class
        room = max(_LEAST_ROOM, 4 * images * math.prod(problem.train.image_shape))
        return max(1, min(_VIEWS, room // (images * bytes_of_view(problem.num_classes))))

    def distill(self, problem: Problem) -> Synthetic:
        """Trains the network, measures it, and descends from real images.

        Raises:
            DistailError: the network's loss, the descent's or the images are no longer finite.
        """
        teacher = teach(problem, self.teacher)
        network = ready(problem, teacher)
        moments = class_moments(problem, network, self.statistics_batch)
        target = Target(1.0, lambda labels: _of_channels(moments.of_each(labels)))
        recovery = Recovery(
            name="tailor",
            settings=self._alignment(problem),
            view="resized",
            smoothing=0.0,
            observers=[Observer(network, ("convolution", "batch_norm"), (target,))],
            batches=whole_class_batches(problem, self.batch_size),
            by_class=True,
            distance=standardised(moments.over_classes()),
            betas=(0.9, 0.999),
        )
        images = recover(problem, recovery, lambda: self._start(problem, network))
        if self.pilot_steps:
            teacher = balanced_teacher(problem, images, teacher, self._pilot(problem))
        return relabelled(problem, images, teacher, self._students(problem), self.num_views(problem))

    def _start(self, problem: Problem, network: Network) -> Float[Tensor, "n c h w"]:
        return random_start(problem, "real") if self.start == "random" else nearest_real_images(problem, network)


def _of_channels(statistics: Statistics) -> Statistics:
    """Without those of patches."""
    return {key: spread for key, spread in statistics.items() if key.endswith("/channels")}
