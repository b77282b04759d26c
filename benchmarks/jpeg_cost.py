"""What storing 32x32 images as JPEG costs a network: measured at half the size, where there is a copy without it.

    DISTAIL_DATA=... python benchmarks/jpeg_cost.py

CIFAR-10 is at hand as JPEG of quality 75 alone. Halved, its images have lost most of what JPEG added, and count as
lossless; storing those as JPEG of the same quality then shows its cost, for training and test images alike. Halved
images have more detail a pixel, of which JPEG takes more, so at 32x32 it probably costs less. The result is
benchmarks/results/jpeg_cost.json.
"""

import argparse
import io
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from page_parts import RESULTS
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import distail
from distail.artifact import write_json
from distail.data.image_set import ImageSet
from distail.progress import PlainProgress

QUALITY = 75


def main() -> None:
    """Trains on both copies and writes how they score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--networks", type=Path, help="folder in which trained networks are kept")
    asked = parser.parse_args()
    source = Path(os.environ["DISTAIL_DATA"]) / "cifar10"
    train = halved(distail.make_long_tailed(distail.load(source), 100).images)
    test = halved(distail.load_test(source))
    rows: dict[str, Any] = {}
    for name, change in (("lossless", lambda images: images), (f"JPEG {QUALITY}", as_jpeg)):
        result = distail.baseline(
            changed(train, change),
            "balanced_softmax",
            test=changed(test, change),
            seeds=asked.seeds,
            epochs=asked.epochs,
            networks=asked.networks,
            progress=PlainProgress(),
        )
        rows[name] = {score: asdict(value) for score, value in result.summary().items()}
        facts = {
            key: result.provenance[key] for key in ("train", "versions", "hardware", "precision", "threads", "written")
        }
    lost = (as_jpeg(test.images).float() - test.images.float()).square().mean().sqrt()
    write_json(
        RESULTS / "jpeg_cost.json",
        {
            "data": "CIFAR-10-LT, imbalance 100, 16x16 pixels: averages of 2x2 pixels of a JPEG copy",
            "method": "balanced_softmax",
            "architecture": "convnet3",
            "seeds": list(range(asked.seeds)),
            "rms_of_255": round(float(lost), 2),
            "rows": rows,
            **facts,
        },
    )


def halved(images: ImageSet) -> ImageSet:
    """Averages of 2x2 pixels."""
    return changed(images, lambda pixels: F.avg_pool2d(pixels.float(), 2).round().to(torch.uint8))


def changed(images: ImageSet, change: Any) -> ImageSet:
    """The same images with other pixels."""
    return ImageSet(change(images.images), images.labels, images.class_names)


def as_jpeg(pixels: Tensor) -> Tensor:
    """Pixels as they are read from JPEG files, with halved colours as encoders have it by default."""
    return torch.stack([_read(_written(image)) for image in pixels])


def _written(image: Tensor) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, format="JPEG", quality=QUALITY)
    return file


def _read(file: io.BytesIO) -> Tensor:
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


if __name__ == "__main__":
    main()
