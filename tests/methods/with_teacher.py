"""A method whose set brings a teacher and says how students are to be trained; nothing is learned."""

from typing import ClassVar

from distail.methods._method import Method
from distail.models.saved import SavedNetwork
from distail.problem import Problem, Synthetic
from distail.synthetic.selection import random_choice, select_real_images
from distail.training.recipe import TrainRecipe

TRAINING = TrainRecipe(
    epochs=4,
    batch_size=5,
    optimizer="adamw",
    learning_rate=0.01,
    schedule="half_cosine",
    augmentation="resized+flip",
    loss="squared_error",
    hard_weight=0.025,
    mixing="cutmix",
    average=0.5,
)


class Taught(Method):
    """Random real images, with an untrained teacher, which is opinion enough."""

    paper: ClassVar[str] = "none"
    summary: ClassVar[str] = "random images with a teacher"
    keeps_teacher: ClassVar[bool] = True

    def distill(self, problem: Problem) -> Synthetic:
        drawn = select_real_images(problem, random_choice(problem))
        train = problem.train
        teacher = SavedNetwork(
            problem.network("teacher").eval(),
            problem.architecture,
            train.image_shape,
            train.class_names,
            problem.preprocessing,
            {"trained on": train.origin},
        )
        return Synthetic(
            drawn.images, drawn.labels, real_indices=drawn.real_indices, teacher=teacher, training=TRAINING
        )
