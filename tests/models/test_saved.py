"""Networks on disk: what comes back is what was saved, and nothing else gets in."""

from pathlib import Path

import pytest
import torch

from distail.artifact import TensorFile, read_tensors, write_tensors
from distail.data.image_set import ImageSet
from distail.data.preprocess import PreprocessingKind, fit_preprocessing
from distail.errors import DistailError
from distail.models.architecture import build_network
from distail.models.saved import KIND, SavedNetwork, load_network, save_network

SHAPE = (3, 8, 8)
COMPACT = ("mobilenetv2-none", "shufflenetv2-batch", "wrn16-2-batch")
CLASSES = ("ant", "bee", "fly")


def images_of(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)


def make_saved(architecture: str = "convnet2-w8-batch", kind: PreprocessingKind = "zca") -> SavedNetwork:
    images = ImageSet(images_of(12), torch.arange(12) % 3, CLASSES)
    network = build_network(architecture, SHAPE, 3, seed=3)
    preprocessing = fit_preprocessing(images, kind)
    network(preprocessing.apply(images.images))  # moves the running statistics of batch normalisation
    return SavedNetwork(network, architecture, SHAPE, CLASSES, preprocessing, {"seed": 3, "note": "test"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.safetensors"


@pytest.mark.parametrize("kind", ["none", "normalize", "zca"])
@pytest.mark.parametrize("architecture", ["convnet2-w8-batch", "convnet3-w8", "alexnet", *COMPACT])
def test_round_trip_gives_the_same_logits(path: Path, architecture: str, kind: PreprocessingKind) -> None:
    saved = make_saved(architecture, kind)
    save_network(path, saved)
    loaded = load_network(str(path))
    images = images_of(5)
    assert torch.equal(loaded.predict_logits(images), saved.predict_logits(images))
    assert loaded.architecture == architecture
    assert loaded.image_shape == SHAPE
    assert loaded.class_names == CLASSES
    assert loaded.provenance == {"seed": 3, "note": "test"}
    assert not loaded.network.training


def test_precision_of_the_weights_is_kept(path: Path) -> None:
    saved = make_saved("convnet2-w8", "none")
    saved.network.double()
    save_network(path, saved)
    loaded = load_network(path)
    assert loaded.network.classifier.weight.dtype == torch.float64
    assert torch.equal(loaded.predict_logits(images_of(2)), saved.predict_logits(images_of(2)))
    assert all(parameter.requires_grad for parameter in loaded.network.parameters())


def test_loading_leaves_the_global_random_state(path: Path) -> None:
    save_network(path, make_saved())
    before = torch.random.get_rng_state()
    load_network(path)
    assert torch.equal(before, torch.random.get_rng_state())


def test_logits_are_those_of_the_evaluated_network_on_preprocessed_images() -> None:
    saved = make_saved()
    images = images_of(7)
    saved.network.train()
    logits = saved.predict_logits(images, batch_size=3)
    assert saved.network.training
    assert not logits.requires_grad
    with torch.no_grad():
        expected = saved.network.eval()(saved.preprocessing.apply(images))
    torch.testing.assert_close(logits, expected)


def test_frozen_parts_keep_their_mode() -> None:
    saved = make_saved()
    saved.network.train()
    saved.network.backbone.eval()
    saved.predict_logits(images_of(2))
    assert saved.network.training
    assert not saved.network.backbone.training


def test_no_images_give_no_logits() -> None:
    assert make_saved().predict_logits(images_of(0)).shape == (0, 3)


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(DistailError, match=r"trained on images of shape \(3, 8, 8\)"):
        make_saved().predict_logits(torch.zeros(1, 3, 9, 8, dtype=torch.uint8))


def test_parts_of_different_problems_are_refused() -> None:
    saved = make_saved()
    with pytest.raises(DistailError, match="2 class names for a network of 3 outputs"):
        SavedNetwork(saved.network, saved.architecture, SHAPE, ("ant", "bee"), saved.preprocessing, {})
    with pytest.raises(DistailError, match="its preprocessing"):
        SavedNetwork(saved.network, saved.architecture, (3, 9, 9), CLASSES, saved.preprocessing, {})


def altered(path: Path, **changes: object) -> Path:
    """Rewrites the file with other header entries, checksum included."""
    content = read_tensors(path, KIND)
    write_tensors(path, TensorFile(KIND, content.tensors, content.header | changes))
    return path


def test_weights_of_another_architecture_are_refused(path: Path) -> None:
    save_network(path, make_saved())
    with pytest.raises(DistailError, match=r"convnet3-w8-batch: the saved weights do not fit"):
        load_network(altered(path, architecture="convnet3-w8-batch"))
    with pytest.raises(DistailError, match=r"'backbone.0.bias' should be \(16,\) and is \(8,\)"):
        load_network(altered(path, architecture="convnet2-w16-batch"))


def test_missing_and_extra_weights_are_refused(path: Path) -> None:
    save_network(path, make_saved())
    content = read_tensors(path, KIND)
    fewer = {name: tensor for name, tensor in content.tensors.items() if name != "network.classifier.bias"}
    write_tensors(path, TensorFile(KIND, fewer, content.header))
    with pytest.raises(DistailError, match=r"'classifier.bias' should be \(3,\) and is absent"):
        load_network(path)
    more = content.tensors | {"network.extra": torch.zeros(2)}
    write_tensors(path, TensorFile(KIND, more, content.header))
    with pytest.raises(DistailError, match=r"'extra' should be absent and is \(2,\)"):
        load_network(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_shape": [3, 8]},
        {"image_shape": None},
        {"class_names": 3},
        {"preprocessing": 5},
        {"provenance": None},
    ],
    ids=str,
)
def test_a_malformed_description_is_refused(path: Path, changes: dict) -> None:
    save_network(path, make_saved())
    with pytest.raises(DistailError, match="does not describe a network"):
        load_network(altered(path, **changes))


def test_unknown_architecture_in_a_file_is_refused(path: Path) -> None:
    save_network(path, make_saved())
    with pytest.raises(DistailError, match="Unknown architecture"):
        load_network(altered(path, architecture="transformer"))


def test_a_file_of_another_kind_is_refused(path: Path) -> None:
    write_tensors(path, TensorFile("distilled set", {"a": torch.zeros(1)}, {}))
    with pytest.raises(DistailError, match="holds a distilled set"):
        load_network(path)


def test_a_missing_file_is_refused(path: Path) -> None:
    with pytest.raises(DistailError, match="does not exist"):
        load_network(path)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_logits_do_not_depend_on_the_number_of_threads(precision):
    """Threads share the images, and must compute in the caller's precision."""
    saved, images, threads = make_saved("convnet2-w8"), images_of(70), torch.get_num_threads()
    logits = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
                logits.append(saved.predict_logits(images))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], saved.predict_logits(images)) == (precision == torch.float32)


def test_floating_point_images_are_those_of_0_to_1() -> None:
    saved, images = make_saved(), images_of(4)
    torch.testing.assert_close(saved.predict_logits(images.float() / 255), saved.predict_logits(images))
    with pytest.raises(DistailError, match=r"must be scaled to 0\.\.1, but go up to \d+\. Divide them by 255"):
        saved.predict_logits(images.float())
