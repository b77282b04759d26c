import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distail.methods import graph_cut
from distail.methods.graph_cut import GradientSimilarity, GraphCut, cut
from distail.synthetic.features import trained_features
from tests.methods.tiny import CountedImages, largest_batch, tiny_problem
from tests.reference import coresets


def random_class(seed: int, n: int = 12) -> tuple[Tensor, Tensor]:
    """Embeddings and class probabilities of the points of one class."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    logits = 2 * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return embeddings, logits.softmax(1)


def similarity_of(embeddings: Tensor, probabilities: Tensor, label: int) -> GradientSimilarity:
    residual = probabilities.clone()
    residual[:, label] -= 1
    return GradientSimilarity(residual, embeddings)


def test_the_reference_gradients_are_those_of_autograd():
    embeddings, _ = random_class(0)
    layer = torch.nn.Linear(5, 4).double()
    expected = []
    for embedding in embeddings:
        loss = torch.nn.functional.cross_entropy(layer(embedding)[None], torch.tensor([2]))
        weight, bias = torch.autograd.grad(loss, (layer.weight, layer.bias))
        expected.append(torch.cat([bias, weight.flatten()]))
    probabilities = layer(embeddings).softmax(1).detach()
    found = coresets.last_layer_gradients(embeddings, probabilities, 2)
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_similarity_is_the_cosine_of_explicit_gradients(seed):
    embeddings, probabilities = random_class(seed)
    expected = coresets.similarities(coresets.last_layer_gradients(embeddings, probabilities, 1))
    similarity = similarity_of(embeddings, probabilities, 1)
    torch.testing.assert_close(similarity.rows(torch.arange(12)), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(similarity.rows(torch.tensor([7, 2])), expected[[7, 2]], rtol=0, atol=1e-10)


@pytest.mark.parametrize("coverage", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("seed", range(3))
def test_picks_what_the_plain_rendering_picks(seed, coverage):
    embeddings, probabilities = random_class(seed)
    gradients = coresets.last_layer_gradients(embeddings, probabilities, 0)
    expected = coresets.graph_cut(coresets.similarities(gradients), 12, coverage)
    assert cut(similarity_of(embeddings, probabilities, 0), 12, coverage).tolist() == expected


def test_blocks_of_rows_change_nothing(monkeypatch):
    similarity = similarity_of(*random_class(0), label=0)
    whole = cut(similarity, 6, 1.0)
    monkeypatch.setattr(graph_cut, "_ROWS", 5)
    assert torch.equal(cut(similarity, 6, 1.0), whole)


def test_coverage_weighs_resemblance_against_variety():
    # Three points alike and one apart: alone, a resembling one is best; the second must be the odd one.
    residual = torch.tensor([[1.0, 0.0], [1.0, 0.01], [1.0, -0.01], [-1.0, 0.0]])
    similarity = GradientSimilarity(residual, torch.zeros(4, 1))
    first, second = cut(similarity, 2, 1.0).tolist()
    assert (first, second) == (0, 3)
    assert 3 not in cut(similarity, 2, 100.0).tolist()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.data())
def test_never_repeats_and_keeps_the_count(kinds, data):
    count = data.draw(st.integers(1, len(kinds)))
    # Kind 0 has no gradient at all, as where the network is sure; the others are duplicates of each other.
    residual = torch.tensor([[0.0, 0.0], [1.0, -1.0], [-0.5, 0.5]])[kinds]
    picked = cut(GradientSimilarity(residual, residual * 3), count, 1.0).tolist()
    assert len(picked) == len(set(picked)) == count
    assert set(picked) <= set(range(len(kinds)))


def test_cuts_each_class_in_its_own_gradients():
    problem = tiny_problem(counts=(10, 6, 1), images_per_class=3)
    made = GraphCut(selection_epochs=2).distill(problem)
    features = trained_features(problem, 2)
    for label in range(3):
        of_class = problem.train.indices_of(label)
        gradients = coresets.last_layer_gradients(
            features.embeddings[of_class], features.probabilities[of_class], label
        )
        order = coresets.graph_cut(coresets.similarities(gradients), min(3, len(of_class)))
        expected = [int(of_class[order[k % len(order)]]) for k in range(3)]
        assert made.real_indices[made.labels == label].tolist() == expected


def test_work_is_what_it_computes():
    problem = tiny_problem()
    method = GraphCut(selection_epochs=3)
    with CountedImages(channels=3) as counted:
        method.distill(problem)
    work = method.work(problem)
    assert (work.forward, work.forward_backward, largest_batch(work)) == (14, 3 * 14, 14)
    assert (counted.forward, counted.forward_backward, counted.batch) == (14, 3 * 14, 14)
