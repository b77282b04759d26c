"""Trajectory matching: the gradient of its loss by synthetic images, label logits and the student's learning rate.

    network = FlatNetwork(problem.network("architecture"), problem.runtime)
    steps = Steps.draw(len(images), 80, 100, problem.train.image_shape, augment, generator)
    loop = InnerLoop(images, logits, rate, steps, augment, InnerLoss.plain())
    found = match_trajectory(network, loop, start, target)
    images -= image_lr * found.images

`match_trajectory` trains the whole network (MTT, TESLA, FTD, DATM, the first phase of LAD), `match_classifier` only
the last layer (LAD's second phase). `InnerLoss.distribution_agnostic` is LAD's loss for students of biased experts.
`match_trajectory_plainly` and `match_classifier_plainly` take the same arguments and give the same numbers, the long
way.

Vectors of parameters are in the order of `network.parameters()`. None of these changes its arguments or draws random
numbers, except that `Steps.draw` draws from the generator that it is given.
"""

from distail.matching.classifier import match_classifier
from distail.matching.functional import FlatNetwork
from distail.matching.losses import InnerLoss
from distail.matching.plain import match_classifier_plainly, match_trajectory_plainly
from distail.matching.steps import Step, Steps
from distail.matching.sweep import InnerLoop, MatchingGradients
from distail.matching.trajectory import match_trajectory

__all__ = [
    "FlatNetwork",
    "InnerLoop",
    "InnerLoss",
    "MatchingGradients",
    "Step",
    "Steps",
    "match_classifier",
    "match_classifier_plainly",
    "match_trajectory",
    "match_trajectory_plainly",
]
