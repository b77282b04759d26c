import pytest
import torch

from distail.data.preprocess import fit_preprocessing
from distail.models import build_network
from distail.models.embedding import embed_images
from distail.runtime import Runtime
from tests.methods.tiny import tiny_images


@pytest.mark.parametrize("batch_size", [3, 500])
def test_embeddings_and_probabilities_of_raw_images(batch_size):
    images = tiny_images()
    preprocessing = fit_preprocessing(images, "normalize")
    network = build_network("convnet2-w8", images.image_shape, images.num_classes, seed=0)
    found = embed_images(network, images.images, preprocessing, Runtime(), batch_size)
    inputs = preprocessing.apply(images.images)
    with torch.no_grad():
        torch.testing.assert_close(found.embeddings, network.features(inputs))
        torch.testing.assert_close(found.probabilities, network(inputs).softmax(1))
    assert found.embeddings.dtype == torch.float32
    assert not network.training
