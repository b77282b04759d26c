"""Baselines from Python."""

import pytest
import torch

import distail
from distail.errors import DistailError
from tests.evaluation.separable import ARCHITECTURE, TEST, TRAIN

FAST = {"epochs": 2, "learning_rate": 0.05, "augmentation": "none"}


def test_digits_by_name(tmp_path):
    result = distail.baseline(
        "digits",
        method="logit_adjustment_post_hoc",
        imbalance=50,
        architecture="convnet1-w8",
        seeds=1,
        train=FAST,
        tau=0.5,
        save=tmp_path / "net.safetensors",
    )
    assert isinstance(result, distail.Evaluation)
    assert result.provenance["settings"]["tau"] == 0.5
    assert sum(result.train_counts or ()) == 330
    assert len(result.per_class()) == 10
    assert distail.load_network(tmp_path / "net.safetensors").provenance["trained on"] == "digits"


def test_images_in_memory():
    result = distail.baseline(TRAIN, "crt", test=TEST, architecture=ARCHITECTURE, seeds=1, train=FAST, imbalance=4)
    assert result.train_counts == (15, 7, 3)
    with pytest.raises(DistailError, match="test="):
        distail.baseline(TRAIN, "crt", architecture=ARCHITECTURE, seeds=1, train=FAST)


def test_a_baseline_of_ones_own(monkeypatch):
    import sys
    import types

    module = types.ModuleType("mypackage.mybaseline")

    def fit(self: distail.Baseline, task: distail.Task) -> distail.Fitted:
        from distail.baselines._task import train_whole

        return train_whole(task)

    module.Mine = type(  # type: ignore[attr-defined]
        "Mine",
        (distail.Baseline,),
        {"__module__": "mypackage.mybaseline", "fit": fit, "paper": "mine", "summary": "mine", "__annotations__": {}},
    )
    monkeypatch.setitem(sys.modules, "mypackage.mybaseline", module)
    mine = distail.baseline(TRAIN, "mypackage.mybaseline", test=TEST, architecture=ARCHITECTURE, seeds=1, train=FAST)
    plain = distail.baseline(TRAIN, "cross_entropy", test=TEST, architecture=ARCHITECTURE, seeds=1, train=FAST)
    assert mine.students[0].scores == plain.students[0].scores


def test_global_randomness_stays():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    distail.baseline(TRAIN, "lws", test=TEST, architecture=ARCHITECTURE, seeds=1, train=FAST)
    assert torch.equal(torch.get_rng_state(), state)
