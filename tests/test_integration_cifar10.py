"""The real thing: CIFAR-10 through the command line. DISTAIL_DATA names a folder with cifar10/*.parquet."""

import hashlib
import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from distail.artifact import read_json
from distail.data.sources.parquet import ParquetSource
from distail.distilled import load_distilled
from distail.progress import SilentProgress
from tests.cli.calling import succeed

DATA = Path(os.environ.get("DISTAIL_DATA", "")) / "cifar10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
COUNTS = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
"""CIFAR-10-LT with imbalance factor 100, as every paper counts it; 12,406 in all."""
NETWORK = "convnet3-w16"

pytestmark = pytest.mark.skipif("DISTAIL_DATA" not in os.environ, reason="DISTAIL_DATA names no folder of datasets")


@pytest.fixture(scope="module")
def decoded_once():
    """Each split is decoded once for all tests, which takes longer than everything else here."""
    read = ParquetSource.read

    @cache
    def remembered(origin, split, image_size):
        source = ParquetSource(origin, {split: (Path(origin) / f"{split}.parquet",)})
        return read(source, split, image_size, SilentProgress())

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            ParquetSource, "read", lambda self, split, image_size, progress: remembered(self.origin, split, image_size)
        )
        yield


def labels_of(split: str) -> np.ndarray:
    return pq.read_table(DATA / f"{split}.parquet", columns=["label"])["label"].to_numpy()


@pytest.fixture(scope="module")
def run(decoded_once, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cifar10") / "run"
    settings = ("--set", "iterations=2", "--set", "real_batch=8")
    flags = ("--ipc", 2, "--imbalance", 100, "--arch", NETWORK, "--out", folder)
    shown = succeed("distill", DATA, "--method", "dm", *settings, *flags)
    assert "12,406 real images in 10 classes (largest 5,000, smallest 50) became 20 images, 2 per class" in shown.flat
    return folder


def test_the_data_are_those_of_the_papers(decoded_once):
    flags = ("--imbalance", 100, "--method", "dm", "--ipc", 2, "--arch", NETWORK)
    shown = succeed("check", DATA, *flags)
    assert "50,000 images, 10 classes, 32x32 pixels, RGB." in shown.flat
    assert "Made long-tailed: 12,406 images kept." in shown.flat
    assert "Imbalance factor 100 " in shown.flat
    assert "Every file is readable." in shown.out
    for name, count in zip(CLASSES, COUNTS, strict=True):
        (row,) = [line for line in shown.out.splitlines() if line.split()[:1] == [name]]
        assert f"{count:,}" in row or str(count) in row
    assert sum(COUNTS) == 12_406


def test_the_kept_images_are_those_of_the_published_rule(run):
    labels = labels_of("train")
    kept: list[int] = []
    for label in range(10):
        of_class = np.flatnonzero(labels == label)
        count = int(5000 * 0.01 ** (label / 9))
        kept += of_class[np.random.RandomState(42).choice(len(of_class), count, replace=False)].tolist()
    data = read_json(run / "manifest.json")["data"]
    assert tuple(data["class_counts"]) == COUNTS
    assert data["kept_indices_sha256"] == hashlib.sha256(json.dumps(kept).encode()).hexdigest()
    assert data["kept_indices"] == kept
    assert tuple(data["class_names"]) == CLASSES


def test_the_set_is_scored_on_all_test_images(run):
    assert load_distilled(run).image_shape == (3, 32, 32)
    told = succeed("evaluate", run, "--arch", NETWORK, "--epochs", 2, "--seeds", 1, "--json").json
    assert told["provenance"]["test"]["images"] == len(labels_of("test")) == 10_000
    assert tuple(told["train_counts"]) == COUNTS
    (student,) = told["students"]
    confusion = np.asarray(student["scores"]["confusion"])
    assert confusion.sum(axis=1).tolist() == [1000] * 10
    assert student["scores"]["accuracy"] == pytest.approx(np.trace(confusion) / 10_000)
    assert 0.05 < student["scores"]["accuracy"] < 0.5  # two epochs on twenty images
