"""Random real images, the same number of each class: the baseline that every method has to beat.

Published for CIFAR-10-LT, ConvNet-3, imbalance 100, IPC 10: 34.4 ± 2.0 (arXiv:2408.14506, as reprinted by RLDD).
"""

from typing import ClassVar

from distail.methods._method import Method
from distail.problem import Problem, Synthetic
from distail.synthetic.selection import random_choice, select_real_images


class Random(Method):
    """IPC images of each class, drawn uniformly without replacement."""

    paper: ClassVar[str] = "baseline"
    summary: ClassVar[str] = "random real images of each class"

    def distill(self, problem: Problem) -> Synthetic:
        """Draws the images."""
        return select_real_images(problem, random_choice(problem))
