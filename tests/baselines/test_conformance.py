"""What every baseline promises. None is named here: a new one is tested without being asked."""

import pytest
import torch

from distail.baselines._registry import baseline_names, build_baseline, find_baseline
from distail.errors import DistailError
from distail.models.saved import load_network, save_network
from tests.baselines.tiny import assert_same_bits, cheap, fit, tiny_task, weights
from tests.methods.tiny import CountedImages, tiny_images

pytestmark = pytest.mark.parametrize("name", baseline_names())


def test_a_network_that_can_be_used_saved_and_loaded(name, tmp_path):
    fitted = fit(name)
    saved, images = fitted.saved, tiny_images((3, 3, 3), seed=5).images
    assert not saved.network.training
    assert saved.network.fused is False
    assert all(bool(torch.isfinite(value).all()) for value in weights(fitted).values())
    assert all(bool(torch.isfinite(torch.tensor(loss))) for loss in fitted.history.losses)
    save_network(tmp_path / "network.safetensors", saved)
    loaded = load_network(tmp_path / "network.safetensors")
    assert loaded.architecture == saved.architecture
    assert type(loaded.network.classifier) is type(saved.network.classifier)
    assert torch.equal(loaded.predict_logits(images), saved.predict_logits(images))


def test_nothing_is_left_frozen(name):
    trained = {key: value.requires_grad for key, value in fit(name).saved.network.named_parameters()}
    cosine = name == "ldam_drw"
    assert trained.pop("classifier.bias") is not cosine
    assert all(trained.values())


def test_the_seed_decides_and_global_randomness_stays(name):
    first = fit(name)
    torch.manual_seed(321)
    state = torch.get_rng_state()
    assert_same_bits(first, fit(name))
    assert torch.equal(torch.get_rng_state(), state)
    other = fit(name, tiny_task(seed=4))
    assert not torch.equal(weights(first)["backbone.0.weight"], weights(other)["backbone.0.weight"])


def test_the_task_stays_as_it_was(name):
    task = tiny_task()
    before = task.everything.content_hash
    fit(name, task)
    del task.everything.__dict__["content_hash"]
    assert task.everything.content_hash == before


def test_networks_with_running_statistics(name):
    fitted = fit(name, tiny_task(architecture="convnet2-w8-batch", epochs=1))
    assert bool(torch.isfinite(fitted.saved.predict_logits(tiny_images((2, 2, 2)).images)).all())


def test_a_class_of_one_image(name):
    baseline = find_baseline(name)()
    if baseline.needs_validation:
        with pytest.raises(DistailError, match=r"'class 2' has a single image.*--set tau=1"):
            fit(name, tiny_task(counts=(5, 3, 1)))
    else:
        assert fit(name, tiny_task(counts=(5, 3, 1))).num_images == 9


def test_divergence_is_a_clear_error(name):
    with pytest.raises(DistailError, match=r"loss became (nan|inf) in epoch \d+\. Lower the learning rate"):
        fit(name, tiny_task(architecture="convnet2-w8-none", learning_rate=1e30, epochs=4, augmentation="none"))


def test_it_says_how_many_images_pass_through_networks(name):
    task = tiny_task(architecture="convnet2-w8-batch")
    baseline = cheap(name)
    with CountedImages(channels=3) as counted:
        fit(name, task)
    promised = baseline.work(task.train.class_counts, task.recipe)
    found, wanted = counted.forward + counted.forward_backward, promised.forward + promised.forward_backward
    # Those held out to choose by are not trained on.
    assert found == wanted or (baseline.needs_validation and 0.6 * wanted < found < wanted)


def test_unknown_settings_are_refused(name):
    with pytest.raises(DistailError, match=f"baseline {name}: unknown key 'warmth'"):
        build_baseline(name, {"warmth": 1})


def test_it_says_what_it_is(name):
    baseline = find_baseline(name)
    assert baseline.summary
    assert "arXiv:" in baseline.paper or name == "cross_entropy"
    assert all(field.description for field in baseline.model_fields.values())
    assert baseline.recipe.num_epochs == 200
