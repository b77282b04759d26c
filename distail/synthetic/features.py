"""What a network trained on the long-tailed data sees in each training image; the ground of coreset methods."""

from __future__ import annotations

from distail.models import Network
from distail.models.embedding import Embedded, embed_images
from distail.problem import Load, Problem, Work
from distail.seeding import derive_seed
from distail.training.loop import train_network
from distail.training.recipe import TrainRecipe
from distail.training.training_set import RealTrainingSet

_TRAINING_BATCH = 128
_EMBEDDING_BATCH = 500


def trained_features(problem: Problem, epochs: int) -> Embedded:
    """Trains the problem's architecture on all its images and embeds them.

    SGD 0.1 with cosine decay and crop and flip augmentation, as coreset libraries train their selection network.

    Source: Guo et al., DeepCore, arXiv:2204.08499.
    """
    recipe = TrainRecipe(
        epochs=epochs,
        learning_rate=0.1,
        schedule="cosine",
        augmentation="crop_flip",
        batch_size=_TRAINING_BATCH,
    )
    network = problem.network("selection network")
    data = RealTrainingSet(problem.train, problem.preprocessing, problem.runtime.device)
    train_network(
        network,
        data,
        recipe,
        seed=derive_seed(problem.seed, "selection training"),
        runtime=problem.runtime,
        progress=problem.progress,
        title="training the selection network",
    )
    return embed(problem, network)


def selection_work(problem: Problem, epochs: int) -> Work:
    """What `trained_features` computes."""
    num_images = len(problem.train)
    # Features are held batch by batch, and once more while they are put together.
    embedding = Load(min(num_images, _EMBEDDING_BATCH), "forward", feature_vectors=2 * num_images)
    training = Load(min(num_images, _TRAINING_BATCH), shared=True)
    return Work(forward=num_images, forward_backward=epochs * num_images, loads=(training, embedding))


def embed(problem: Problem, network: Network, batch_size: int = _EMBEDDING_BATCH) -> Embedded:
    """Embeddings and class probabilities of every training image, without augmentation."""
    return embed_images(network, problem.train.images, problem.preprocessing, problem.runtime, batch_size)
