"""DSA, siamese augmentation: gradient matching in which real and synthetic images are augmented alike.

Paper: Zhao & Bilen, Dataset Condensation with Differentiable Siamese Augmentation, ICML 2021, arXiv:2102.08259.
Equation: minimise Σ_c Σ_layers Σ_rows (1 − cos(∇ℓ(A(real_c)), ∇ℓ(A(syn_c)))) over the images, A one draw of the
augmentation for both; otherwise as DC. The network's own training is augmented too, with one draw an image.
Deviations from the released code: those of `dc`; and one generator draws what a random seed made alike there.
Published for balanced CIFAR-10, ConvNet-3, IPC 1/10/50: 28.8/52.1/60.6. No long-tailed number is published.
"""

from typing import ClassVar, Literal

from distail.data import augment
from distail.methods._method import Method
from distail.problem import Problem, Synthetic, Work
from distail.synthetic.gradient_descent import GradientMatchingSettings, gradient_matching_work, match_gradients
from distail.synthetic.initial import random_start
from distail.training.recipe import DSA_ALL


class DSA(GradientMatchingSettings, Method):
    """Gradient matching along the training of random networks, with siamese augmentation."""

    paper: ClassVar[str] = "Zhao & Bilen, ICML 2021, arXiv:2102.08259"
    summary: ClassVar[str] = "match gradients as dc does, with the same augmentation of real and synthetic images"
    iterations_stand_alone: ClassVar[bool] = True
    batch_field: ClassVar[str | None] = "real_batch"

    initial_images: Literal["noise", "real"] = "real"
    """Gaussian noise of unit variance, or random real images (paper: real)."""
    augmentation: str = DSA_ALL
    """DSA operations: one draw a class for real and synthetic images alike, one an image while the network trains."""

    def work(self, problem: Problem) -> Work:
        """Real batches and synthetic images of all rounds, and the training between them."""
        return gradient_matching_work(problem, self)

    def distill(self, problem: Problem) -> Synthetic:
        """Starts from real images or noise and descends.

        Raises:
            DistailError: the loss or the images are no longer finite, or the augmentation is unknown.
        """
        start = random_start(problem, self.initial_images)
        return match_gradients(problem, self, "dsa", start, augment.DSA(self.augmentation))
