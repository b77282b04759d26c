import pytest
import torch

from distail.seeding import derive_seed
from distail.synthetic.features import embed, selection_work, trained_features
from distail.training.loop import train_network
from distail.training.recipe import TrainRecipe
from distail.training.training_set import RealTrainingSet
from tests.methods.tiny import CountedImages, largest_batch, tiny_problem


def test_embeddings_and_probabilities_are_the_networks_own():
    problem = tiny_problem()
    network = problem.network("any").eval()
    found = embed(problem, network)
    images = problem.preprocessing.apply(problem.train.images)
    with torch.no_grad():
        torch.testing.assert_close(found.embeddings, network.features(images))
        torch.testing.assert_close(found.probabilities, network(images).softmax(1))
    assert found.embeddings.dtype == found.probabilities.dtype == torch.float32
    assert not found.embeddings.requires_grad


@pytest.mark.parametrize("architecture", ["convnet2-w8", "convnet2-w8-batch"])
def test_batches_change_nothing(architecture):
    """Batch normalisation included: the network is looked at in evaluation mode."""
    problem = tiny_problem(architecture=architecture)
    network = problem.network("any").train()
    whole, parts = embed(problem, network), embed(problem, network, batch_size=3)
    torch.testing.assert_close(whole.embeddings, parts.embeddings)
    torch.testing.assert_close(whole.probabilities, parts.probabilities)


def test_features_are_those_of_a_network_trained_on_all_the_data():
    problem = tiny_problem()
    network = problem.network("selection network")
    recipe = TrainRecipe(epochs=3, learning_rate=0.1, schedule="cosine", augmentation="crop_flip", batch_size=128)
    train_network(
        network,
        RealTrainingSet(problem.train, problem.preprocessing),
        recipe,
        seed=derive_seed(problem.seed, "selection training"),
        runtime=problem.runtime,
    )
    expected, found = embed(problem, network), trained_features(problem, 3)
    assert torch.equal(found.embeddings, expected.embeddings)
    assert torch.equal(found.probabilities, expected.probabilities)


def test_training_tells_classes_apart():
    problem = tiny_problem(counts=(12, 8, 6))
    probabilities = trained_features(problem, 30).probabilities
    accuracy = (probabilities.argmax(1) == problem.train.labels).float().mean()
    assert accuracy > 0.9
    torch.testing.assert_close(probabilities.sum(1), torch.ones(26))


def test_the_seed_decides():
    first = trained_features(tiny_problem(), 1).embeddings
    assert torch.equal(first, trained_features(tiny_problem(), 1).embeddings)
    assert not torch.equal(first, trained_features(tiny_problem(seed=1), 1).embeddings)


@pytest.mark.parametrize("counts", [(9, 4, 1), (400, 140)])
def test_work_is_what_it_computes(counts):
    problem = tiny_problem(counts=counts)
    with CountedImages(channels=3) as counted:
        trained_features(problem, 2)
    work = selection_work(problem, 2)
    assert (work.forward, work.forward_backward) == (counted.forward, counted.forward_backward)
    assert largest_batch(work) == counted.batch
