"""A bad request or bad data are clear errors and leave nothing behind."""

import pytest

from distail import pipeline
from distail.errors import DistailError
from distail.pipeline import distill
from tests.evaluation.separable import images_of
from tests.pipeline.small_runs import ITERATIONS, recipe_for, write_source


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"data": {"source": "nowhere"}}, "There is no source 'nowhere'"),
        ({"data": {"imbalance": 5000.0}}, "leaves the tail class without images"),
        ({"data": {"image_size": 8, "source": "digitz"}}, "Did you mean 'digits'"),
        ({"method": "dn"}, r"no method 'dn'\. Did you mean 'dm'"),
        ({"settings": {"iteration": 3}}, r"unknown key 'iteration'\. Did you mean 'iterations'"),
        ({"settings": {"iterations": 0}}, "'iterations': input should be greater"),
        ({"architecture": "convnt3"}, "convnt3"),
        ({"images_per_class": 10**12}, "need about .* GiB.*--ipc"),
    ],
)
def test_a_bad_request_leaves_no_folder_behind(tmp_path, source, changes, match):
    with pytest.raises(DistailError, match=match):
        distill(recipe_for(source, **changes), out=tmp_path / "runs" / "run")
    assert list(tmp_path.iterdir()) == []


def test_bad_data_leave_no_folder_behind(tmp_path):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(write_source(tmp_path / "whole.npz").read_bytes()[:500])
    empty_class = write_source(tmp_path / "empty.npz", images_of((5, 0, 5), 1))
    for path, match in ((broken, "not an .npz archive"), (empty_class, "no image in class bee")):
        with pytest.raises(DistailError, match=match):
            distill(recipe_for(path, data={"imbalance": None}), out=tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_an_occupied_folder_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    (tmp_path / "precious").write_text("")
    monkeypatch.setattr(pipeline, "load_training_images", lambda *_: pytest.fail("reads the source"))
    with pytest.raises(DistailError, match="nothing was touched"):
        distill(recipe_for("digits"), out=tmp_path)


def test_images_that_explode_are_a_clear_error(tmp_path, source):
    huge = {"iterations": ITERATIONS, "real_batch": 4, "image_lr": 1e38}
    with pytest.raises(DistailError, match="image_lr"):
        distill(recipe_for(source, settings=huge), out=tmp_path / "run")
    assert not (tmp_path / "run" / "distilled.safetensors").exists()
