"""RDED: crops of real images of which a trained network is most sure, labelled by it.

Paper: Sun et al., On the Diversity and Realism of Distilled Dataset, CVPR 2024, arXiv:2312.03526.
Of some random boxes of each real image the one of lowest cross-entropy is kept, of those the IPC · factor² lowest of
each class, and factor² of them are put together to an image. Nothing is optimised: images stay real content.
Deviations from the released code: a class with fewer images than IPC · factor² gives further crops of its images, those
of lowest cross-entropy first, in rounds, where the code cannot go on (the published tables have dashes there); pixels
stay floats, where the code stores JPEG; students do not shuffle patches.
Published for CIFAR-10-LT, IPC 10/20/50 (the tables of RLDD, which ran it anew): imbalance 10: 46.2/55.5/62.0; imbalance
50: 43.3/46.1/53.2; imbalance 100: 41.2/45.3/49.9. Students learn from a teacher in the loop there, and the best test
accuracy of the epochs is reported; here the last epoch counts.
The defaults are those of 32x32 and 64x64 pixels, IPC 10.
"""

from typing import ClassVar

from pydantic import Field

from distail.methods._method import Method
from distail.problem import Problem, Synthetic, Work
from distail.synthetic.crops import confident_crops, crops_work
from distail.synthetic.mosaic import require_divisible
from distail.synthetic.relabel import ready, relabelled, relabelling_work
from distail.teachers.spec import SRE2L_TEACHER, TeacherSpec
from distail.teachers.teaching import teach, teacher_architecture
from distail.teachers.work import teachers_work
from distail.training.recipe import TrainRecipe


class RDED(Method):
    """Confident crops of real images."""

    paper: ClassVar[str] = "Sun et al., CVPR 2024, arXiv:2312.03526"
    summary: ClassVar[str] = "crops of real images of which a trained network is most sure, labelled by it"
    stores_soft_labels: ClassVar[bool] = True
    keeps_teacher: ClassVar[bool] = True

    factor: int = Field(default=1, ge=1)
    """Crops a side of each image (paper: 1 for 32 and 64 pixels, 2 for 224)."""
    crops_per_image: int = Field(default=5, ge=1)
    """Boxes that are tried in each real image (paper: 5)."""
    max_images: int | None = Field(default=300, ge=1)
    """Real images of each class that are looked at, chosen at random; all of them when null (paper: 300)."""
    smallest_crop: float = Field(default=0.08, gt=0, le=1)
    """Smallest share of an image's area that a box takes (paper: 0.08)."""
    teacher: TeacherSpec = SRE2L_TEACHER
    """The network that judges crops and labels them (paper: one with batch norm; its training is taken from SRe2L)."""
    students: TrainRecipe = TrainRecipe(
        epochs=300,
        batch_size=50,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.01,
        schedule="half_cosine",
        augmentation="resized+flip",
        smallest_crop=0.08,
        loss="divergence",
        temperature=20.0,
        mixing="cutmix",
    )
    """How students are trained on the set (paper: AdamW, 300 epochs, temperature 20, CutMix; batches of 10, 50 and 100
    for IPC 1, 10 and 50)."""

    def work(self, problem: Problem) -> Work:
        """Training the teacher, judging crops and labelling."""
        architecture = teacher_architecture(problem, self.teacher)
        judged = crops_work(
            problem,
            architecture,
            crops_per_image=self.crops_per_image,
            max_images=self.max_images,
            factor=self.factor,
        )
        return teachers_work(problem, [self.teacher]) + judged + relabelling_work(problem, [architecture])

    def distill(self, problem: Problem) -> Synthetic:
        """Trains the teacher, and chooses crops.

        Raises:
            DistailError: the factor does not divide the sides of the images, or the teacher's training diverges.
        """
        require_divisible(problem.train.image_shape, self.factor, "factor")
        teacher = teach(problem, self.teacher)
        images = confident_crops(
            problem,
            ready(problem, teacher),
            crops_per_image=self.crops_per_image,
            max_images=self.max_images,
            smallest=self.smallest_crop,
            factor=self.factor,
        )
        return relabelled(problem, images, teacher, self.students)
