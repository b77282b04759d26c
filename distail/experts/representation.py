"""One epoch of a representation expert: the whole network, on the long-tailed images as they come."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from distail.data.augment import DSA
from distail.experts.shared_batch import BatchPart
from distail.experts.sharpness import gsam_direction
from distail.experts.spec import RepresentationSpec
from distail.models.flat import FlatLayout
from distail.models.network import Network
from distail.runtime import Runtime
from distail.seeding import torch_generator
from distail.training.gradients import batch_gradients
from distail.training.training_set import TrainingSet, shuffled_batches


def train_representation_epoch(
    network: Network,
    parameters: Float[Tensor, " p"],
    data: TrainingSet,
    spec: RepresentationSpec,
    expert: int,
    epoch: int,
    runtime: Runtime,
) -> tuple[Float[Tensor, " p"], float]:
    """Parameters after one more epoch, and its mean loss.

    Batches and augmentation are a function of (spec.seed, expert, epoch), so that training can stop after any epoch.
    Peers, who all call this, share out every batch, unless its images mix in the network: then all see the whole batch.

    Args:
        network: gives the architecture; its parameters are overwritten.
        parameters: where the epoch starts; not written to.
        data: the long-tailed images.
        expert: number of the expert.
        epoch: number of the epoch, from 0.
    """
    layout = FlatLayout.of(network)
    network.train()
    augment = DSA(strategy=spec.augmentation)
    generator = torch_generator(spec.seed, "expert epoch", expert, epoch)
    total = torch.zeros((), device=runtime.device)
    for indices in shuffled_batches(len(data), spec.batch_size, generator):
        batch = BatchPart.of(data, indices, augment, generator, runtime.peers, whole=network.mixes_images)

        def gradient(at: Float[Tensor, " p"], batch: BatchPart = batch) -> tuple[Tensor, Float[Tensor, " p"]]:
            layout.load(network, at)
            loss, gradients = batch_gradients(network, batch.images, batch.targets, runtime)
            return loss, torch.cat([part.flatten() for part in gradients])

        loss, direction = gsam_direction(batch.shared(gradient), parameters, spec.gsam_rho, spec.gsam_alpha)
        parameters = parameters - spec.learning_rate * (direction + spec.weight_decay * parameters)
        total += loss * len(indices)
    return parameters, float(total) / len(data)
