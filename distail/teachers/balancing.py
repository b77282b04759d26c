"""Teachers whose students take real images for every class equally often: found by a pilot student, from real images.

The pilot learns from the finished images; the long-tailed ones, which it has not seen but for those that the set began
with, tell which classes it favours. No other images are needed.
"""

from __future__ import annotations

import time

from jaxtyping import Float
from torch import Tensor, nn

from distail.learn.balance import balancing_shift
from distail.learn.kept import KeptNetworks
from distail.learn.labels import TeacherTrainingSet
from distail.learn.student import Classroom, train_student
from distail.models.logit_changes import with_shifted_logits
from distail.models.saved import SavedNetwork
from distail.problem import Load, Problem, Work, class_major_labels
from distail.seeding import derive_seed
from distail.synthetic.relabel import ready
from distail.training.recipe import TrainRecipe

FOLDER = "pilots"
"""Where pilots lie in the folder of an expert bank."""
_BATCH = 500
"""Real images looked at together."""


def balanced_teacher(
    problem: Problem, images: Float[Tensor, "n c h w"], teacher: SavedNetwork, pilot: TrainRecipe
) -> SavedNetwork:
    """The teacher with its logits shifted so that a student of it does not favour any class among real images.

    A pilot that is found instead of trained counts into the bank's `reused_seconds`. A teacher whose classifier has no
    bias to shift, such as that of `convnet3-cosine`, stays as it is, which is said.

    Args:
        problem: its training images are looked at, with classes counting alike.
        images: the finished ones, class by class, on the device.
        teacher: on the device, behind the problem's own preprocessing.
        pilot: how the student is trained.

    Raises:
        DistailError: the pilot's training diverges.
    """
    if type(teacher.network.classifier) is not nn.Linear:
        problem.progress.warn("The network that labels has no bias to shift, so labels stay as it gives them.")
        return teacher
    labels = class_major_labels(problem.num_classes, problem.images_per_class).to(images.device)
    data = TeacherTrainingSet(images, labels, teacher, problem.preprocessing, problem.num_classes, problem.runtime)
    with problem.expert_bank() as bank:
        begun = time.perf_counter()
        student = train_student(
            Classroom(data, problem.train.class_names, problem.preprocessing),
            problem.architecture,
            pilot,
            derive_seed(problem.seed, "pilot"),
            problem.runtime,
            progress=problem.progress,
            title="pilot student",
            kept=KeptNetworks(bank.path / FOLDER, bank.wait),
        )
        bank.reused_seconds += max(0.0, student.seconds - (time.perf_counter() - begun))
    ready(problem, student.saved)
    logits = student.saved.predict_logits(problem.train.images, _BATCH)
    shift = balancing_shift(logits, problem.train.labels)
    return with_shifted_logits(teacher, shift, who="Balancing labels", provenance={"logits_shifted_by": shift.tolist()})


def balancing_work(problem: Problem, teacher: str, pilot: TrainRecipe) -> Work:
    """Views of all images pass through the teacher and, forward and backward, the pilot; then real ones through it.

    Args:
        teacher: its network.
        pilot: how the student is trained.
    """
    num_images = problem.num_classes * problem.images_per_class
    views, batch = pilot.num_epochs * num_images, min(pilot.batch_size, num_images)
    return Work(
        forward=len(problem.train) + int(views * problem.relative_cost(teacher)),
        forward_backward=views,
        loads=(
            Load(batch, parameter_vectors=4),
            Load(batch, "forward", architecture=teacher),
            Load(min(len(problem.train), _BATCH), "forward"),
        ),
    )
