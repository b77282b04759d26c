"""IDM, improved distribution matching: mosaics whose mean features equal those of real images, in networks in training.

Paper: Zhao et al., Improved Distribution Matching for Dataset Condensation, CVPR 2023, arXiv:2307.09742.
Equation: class by class, minimise ‖mean φ(A(real_c)) − mean φ(A(syn_c))‖² + w · accuracy · CE(A(syn_c), c) over the
images, φ the features of a network from a queue of partly trained ones, `accuracy` its own in percent on its training
batches, A the same DSA augmentation on both. syn_c are the cells of 2x2 mosaics, each enlarged to full size, so IPC
images stand for four times as many; students learn from the cells too.
Deviations from the released code: accuracies count a network's whole life, where the code forgets them whenever it
evaluates; for IPC 1 without mosaics the code keeps the 2,560 real images of lowest loss in a class, and the
cross-entropy of misclassified images alone, which a long tail has no use for and is left out.
As there, momentum moves the images of all classes at the step of each; batches that train networks are long-tailed
like the data. A class with fewer images than a batch gives all it has; initial cells repeat where it has fewer than
four times IPC.
Published for balanced CIFAR-10, ConvNet-3, IPC 1/10/50: 45.6/58.6/67.5. For CIFAR-10-LT, IPC 10/20/50 (the tables of
RLDD): imbalance 10: 54.8/57.1/60.1; imbalance 50: 51.9/53.3/56.1; imbalance 100: 49.8/50.9/53.1.
The defaults are those of CIFAR-10, IPC 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from distail.artifact import with_prefix
from distail.data.augment import DSA
from distail.methods._method import Method
from distail.models.embedding import batch_features, wide
from distail.problem import Load, Problem, Synthetic, Work, class_major_labels
from distail.synthetic.image_state import ImageState, divergence
from distail.synthetic.mosaic import compose, decode_preprocessed, require_divisible
from distail.synthetic.selection import random_choice, select_indices
from distail.training.learner import Learner
from distail.training.recipe import DSA_ALL
from distail.training.targets import Targets

_LEARNER_VECTORS = 2
"""A network in training and its momentum."""


class IDM(Method):
    """Distribution matching of mosaics in a queue of partly trained networks."""

    paper: ClassVar[str] = "Zhao et al., CVPR 2023, arXiv:2307.09742"
    summary: ClassVar[str] = "match mean features of real images and mosaics in a queue of partly trained networks"
    iterations_stand_alone: ClassVar[bool] = True
    batch_field: ClassVar[str | None] = "network_batch_size"
    runs_fused: ClassVar[bool] = True

    iterations: int = Field(default=20_000, ge=1)
    """Passes over all classes, each with one network of the queue (paper: 20,000)."""
    mosaic: int = Field(default=2, ge=1)
    """Cells a side of each stored image; 1 stores images as they are (paper: 2)."""
    real_batch: int = Field(default=256, ge=1)
    """Real images of each class an iteration, without repeats; smaller classes give all they have (paper: 256; 5,000
    for IPC 1)."""
    image_lr: float = Field(default=0.2, gt=0)
    """SGD step size on the images (paper: 0.2)."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """SGD momentum on the images (paper: 0.5)."""
    classification_weight: float = Field(default=0.5, ge=0)
    """w, weight of the cross-entropy per percent of accuracy (paper: 0.5 for IPC 1 and 10; 0.1 for 50)."""
    max_networks: int = Field(default=100, ge=1)
    """Length of the queue, from which the oldest falls out (paper: 100)."""
    first_networks: int = Field(default=3, ge=1)
    """Networks before the first iteration (paper: 3)."""
    network_interval: int = Field(default=30, ge=1)
    """Iterations between two new random networks (paper: 30; 5 for IPC 1)."""
    trained_networks: int = Field(default=2, ge=0)
    """Networks that train after each iteration (paper: 2)."""
    training_steps: int = Field(default=10, ge=1)
    """Steps of each of them (paper: 10; 50 for CIFAR-100 with IPC 10)."""
    network_batch_size: int = Field(default=256, ge=1)
    """Real images a step, drawn from all classes without repeats (paper: 256)."""
    network_lr: float = Field(default=0.01, gt=0)
    """SGD step size of networks (paper: 0.01)."""
    network_momentum: float = Field(default=0.9, ge=0, lt=1)
    """SGD momentum of networks (paper: 0.9)."""
    network_weight_decay: float = Field(default=5e-4, ge=0)
    """L2 penalty of networks (paper: 5e-4)."""
    augmentation: str = DSA_ALL
    """DSA operations, siamese: one set of parameters a class for real and synthetic images alike."""

    @property
    def images_in_one(self) -> int:
        """Cells of a mosaic."""
        return self.mosaic**2

    def work(self, problem: Problem) -> Work:
        """Real batches are embedded, all cells descend, and some networks train."""
        real = sum(min(self.real_batch, count) for count in problem.train.class_counts)
        cells = problem.num_classes * problem.images_per_class * self.images_in_one
        trained = min(self.network_batch_size, len(problem.train))
        training = self.trained_networks * self.training_steps * trained
        return Work(
            forward=self.iterations * real,
            forward_backward=self.iterations * (cells + training),
            loads=self._loads(problem, trained if training else 0),
        )

    def _loads(self, problem: Problem, trained: int) -> tuple[Load, ...]:
        """Real images of a class, its cells, and training; networks of the queue and their momentum all the while."""
        made = self.first_networks + -(-self.iterations // self.network_interval)
        queue = _LEARNER_VECTORS * min(made, self.max_networks)
        largest = min(self.real_batch, max(problem.train.class_counts))
        loads = (
            Load(largest, "forward", shared=True, parameter_vectors=queue),
            Load(problem.images_per_class * self.images_in_one, parameter_vectors=queue),
        )
        return (*loads, Load(trained, shared=True, parameter_vectors=queue)) if trained else loads

    def distill(self, problem: Problem) -> Synthetic:
        """Starts from mosaics of random real images and descends.

        Raises:
            DistailError: the loss, the images or a network are no longer finite; the augmentation is unknown; or a
                mosaic's cells do not divide the sides of the images.
        """
        require_divisible(problem.train.image_shape, self.mosaic)
        augment = DSA(self.augmentation)
        state, queue = self._resumed(problem)
        with problem.progress.task("idm", self.iterations, state.iteration) as advance:
            while state.iteration < self.iterations:
                iteration = state.iteration
                pushed = queue.pushed(self, problem, iteration)
                after, loss = self._matched(problem, augment, state, pushed.drawn(problem, iteration))
                if not after.is_finite(loss):
                    problem.checkpoint.save(*_packed(state, queue), now=True)
                    raise divergence("idm", loss, iteration, self.image_lr)
                queue = self._trained(problem, pushed, iteration)
                state = replace(after, iteration=iteration + 1)
                problem.log(iteration, loss=loss)
                problem.checkpoint.save(*_packed(state, queue))
                advance(loss=loss)
        labels = class_major_labels(problem.num_classes, problem.images_per_class)
        return Synthetic(state.images.cpu(), labels, mosaic=self.mosaic)

    def _start(self, problem: Problem) -> Float[Tensor, "n c h w"]:
        """Mosaics of random images of each class."""
        cells = problem.images_per_class * self.images_in_one
        indices = select_indices(problem.train, cells, random_choice(problem))
        return torch.cat([compose(problem.real(of_class), self.mosaic) for of_class in indices.split(cells)])

    def _resumed(self, problem: Problem) -> tuple[ImageState, _Queue]:
        """Images and networks of a killed run, or those to start from."""
        state = ImageState.resumed(problem, self._start(problem))
        saved = problem.checkpoint.load()
        if saved is None:
            members = [_Member.new(self, problem, number) for number in range(self.first_networks)]
            return state, _Queue(tuple(members)[-self.max_networks :], self.first_networks)
        return state, _Queue.unpacked(self, problem, *saved)

    def _matched(self, problem: Problem, augment: DSA, state: ImageState, member: _Member) -> tuple[ImageState, float]:
        """After the steps of all classes, and the sum of their losses."""
        generator = problem.generator("idm batch", state.iteration)
        network = member.learner.network.eval()
        total = 0.0
        for label in range(problem.num_classes):
            of_class = problem.train.indices_of(label)
            picked = of_class[torch.randperm(len(of_class), generator=generator)[: self.real_batch]]
            draw = augment.sample(len(picked), problem.train.image_shape, generator, shared=True)
            wanted = batch_features(network, augment.apply(problem.real(picked), draw), problem.runtime).mean(0)
            own = state.images.split(problem.images_per_class)[label].detach().requires_grad_()
            views = augment.apply(decode_preprocessed(own, self.mosaic, problem.preprocessing), draw)
            with problem.runtime.autocast():
                features = network.features(views)
                logits = network.classifier(features)
            labels = torch.full((len(views),), label, device=views.device)
            weight = self.classification_weight * member.accuracy
            loss = (wide(features).mean(0) - wanted).square().sum()
            loss = loss + weight * F.cross_entropy(wide(logits), labels)
            (gradient,) = torch.autograd.grad(loss, own)
            state = state.moved_in_class(gradient, label, self.image_lr, self.momentum)
            total += float(loss.detach())
        return state, total

    def _trained(self, problem: Problem, queue: _Queue, iteration: int) -> _Queue:
        """After some of the networks have trained, in place, on real images."""
        generator = problem.generator("idm training", iteration)
        members = list(queue.members)
        chosen = torch.randperm(len(members), generator=generator)[: self.trained_networks].tolist()
        for position in chosen:
            for _ in range(self.training_steps):
                picked = torch.randperm(len(problem.train), generator=generator)[: self.network_batch_size]
                members[position] = members[position].trained(problem, picked)
        return replace(queue, members=tuple(members))


@dataclass(frozen=True, eq=False)
class _Member:
    """A network of the queue.

    Attributes:
        learner: the network and its momentum.
        right, seen: images of its training batches that it classified correctly, and all of them.
    """

    learner: Learner
    right: int = 0
    seen: int = 0

    @staticmethod
    def new(method: IDM, problem: Problem, number: int) -> _Member:
        """The random network of this number."""
        learner = Learner(
            problem.network("idm network", number),
            problem.runtime,
            learning_rate=method.network_lr,
            momentum=method.network_momentum,
            weight_decay=method.network_weight_decay,
        )
        return _Member(learner)

    @property
    def accuracy(self) -> float:
        """In percent; 0 before any training."""
        return 100 * self.right / max(self.seen, 1)

    def trained(self, problem: Problem, picked: Int64[Tensor, " b"]) -> _Member:
        """After one step on these images; the learner is the same one."""
        labels = problem.train.labels[picked].to(problem.runtime.device)
        found = self.learner.step(problem.real(picked), Targets(labels))
        right = int((found.logits.argmax(1) == labels).sum())
        return _Member(self.learner, self.right + right, self.seen + len(picked))


@dataclass(frozen=True, eq=False)
class _Queue:
    """Networks in training, oldest first.

    Attributes:
        members: the networks.
        num_made: how many there have been.
    """

    members: tuple[_Member, ...]
    num_made: int

    def pushed(self, method: IDM, problem: Problem, iteration: int) -> _Queue:
        """With a new network, if it is time for one."""
        if iteration % method.network_interval:
            return self
        kept = self.members[-(method.max_networks - 1) :] if method.max_networks > 1 else ()
        return _Queue((*kept, _Member.new(method, problem, self.num_made)), self.num_made + 1)

    def drawn(self, problem: Problem, iteration: int) -> _Member:
        """The one that matches in this iteration."""
        generator = problem.generator("idm choice", iteration)
        return self.members[int(torch.randint(len(self.members), (), generator=generator))]

    def packed(self) -> Iterator[tuple[str, Tensor]]:
        """All tensors by name."""
        for position, member in enumerate(self.members):
            for name, tensor in member.learner.tensors().items():
                yield f"{position}.{name}", tensor

    @staticmethod
    def unpacked(method: IDM, problem: Problem, tensors: dict[str, Tensor], values: dict[str, Any]) -> _Queue:
        """What a checkpoint holds."""
        members = []
        for position, (right, seen) in enumerate(values["answers"]):
            member = _Member.new(method, problem, 0)
            member.learner.restore(with_prefix(tensors, f"{position}."))
            members.append(_Member(member.learner, right, seen))
        return _Queue(tuple(members), int(values["num_made"]))


def _packed(state: ImageState, queue: _Queue) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything that the next iteration depends on."""
    tensors, values = state.packed()
    answers = [(member.right, member.seen) for member in queue.members]
    return tensors | dict(queue.packed()), {**values, "num_made": queue.num_made, "answers": answers}
