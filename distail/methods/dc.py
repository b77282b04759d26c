"""DC, dataset condensation: synthetic images whose gradients point where those of real ones do, while networks train.

Paper: Zhao, Mopuri & Bilen, Dataset Condensation with Gradient Matching, ICLR 2021, arXiv:2006.05929.
Equation: minimise Σ_c Σ_layers Σ_rows (1 − cos(∇ℓ(real_c), ∇ℓ(syn_c))) over the images, a row being what belongs to one
output of a layer; biases and norms do not count. A new random network in every iteration, which trains on the synthetic
set between two updates of it.
Deviations from the released code: the gradient by the images is taken without double backward, which gives the same
numbers sooner (`distail/synthetic/gradient_matching.py`); IPC for which the code has no loop lengths take those of the
nearest.
As there, batch normalisation is held at running statistics moved by 16 real images of each class, or as many as it has.
Published for balanced CIFAR-10, ConvNet-3, IPC 1/10/50: 28.3/44.9/53.9. For CIFAR-10-LT, IPC 10/20/50 (the tables of
RLDD): imbalance 10: 37.9/38.5/37.4; imbalance 50: 37.3/38.8/35.8; imbalance 100: 36.7/38.1/35.3.
"""

from typing import ClassVar, Literal

from distail.data.augment import DSA
from distail.methods._method import Method
from distail.problem import Problem, Synthetic, Work
from distail.synthetic.gradient_descent import GradientMatchingSettings, gradient_matching_work, match_gradients
from distail.synthetic.initial import random_start


class DC(GradientMatchingSettings, Method):
    """Gradient matching along the training of random networks, without augmentation."""

    paper: ClassVar[str] = "Zhao, Mopuri & Bilen, ICLR 2021, arXiv:2006.05929"
    summary: ClassVar[str] = "match gradients of real and synthetic images while networks train on the latter"
    iterations_stand_alone: ClassVar[bool] = True
    batch_field: ClassVar[str | None] = "real_batch"

    initial_images: Literal["noise", "real"] = "noise"
    """Gaussian noise of unit variance, or random real images (paper: noise)."""

    def work(self, problem: Problem) -> Work:
        """Real batches and synthetic images of all rounds, and the training between them."""
        return gradient_matching_work(problem, self)

    def distill(self, problem: Problem) -> Synthetic:
        """Starts from noise or real images and descends.

        Raises:
            DistailError: the loss or the images are no longer finite.
        """
        return match_gradients(problem, self, "dc", random_start(problem, self.initial_images), DSA("none"))
