"""What experts learn from, and with which network: all that decides them beside their `ExpertSpec`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from distail.data.image_set import ImageSet
from distail.data.preprocess import Preprocessing
from distail.experts.spec import ExpertSpec
from distail.models import Network, build_network
from distail.models.architecture import architecture_source
from distail.progress import Progress, SilentProgress
from distail.runtime import Runtime, available_memory_bytes
from distail.seeding import derive_seed
from distail.training.targets import Targets
from distail.training.training_set import RealTrainingSet, TensorTrainingSet, TrainingSet

FORMAT = 1
"""Raised whenever the same spec would give other snapshots, so that old ones are never mistaken for new."""
FLOAT_IMAGES_SHARE = 8
"""Training images are kept as floats where they take less than one part in so many of the free memory."""


@dataclass(frozen=True, eq=False)
class ExpertGround:
    """The long-tailed images, the network, and where it is trained.

    Attributes:
        train: the long-tailed training images.
        preprocessing: fitted on them.
        architecture: of every expert, such as 'convnet3'.
    """

    train: ImageSet
    preprocessing: Preprocessing
    architecture: str
    runtime: Runtime = field(default_factory=Runtime)
    progress: Progress = field(default_factory=SilentProgress)

    def identity(self, spec: ExpertSpec) -> dict[str, Any]:
        """Everything that decides a snapshot beside the expert's number and the epoch, as JSON values."""
        identity = {
            "format": FORMAT,
            "data_sha256": self.train.content_hash,
            "preprocessing": self.preprocessing.header(),
            "architecture": self.architecture,
            "num_classes": self.train.num_classes,
            "precision": self.runtime.precision,
            "spec": spec.model_dump(mode="json"),
        }
        # The name of a network of one's own says nothing about what stands in its file.
        source = architecture_source(self.architecture)
        return identity if source is None else {**identity, "architecture_sha256": source}

    def network(self, seed: int, expert: int) -> Network:
        """The untrained network of one expert, on the device."""
        network_seed = derive_seed(seed, "expert network", expert)
        network = build_network(self.architecture, self.train.image_shape, self.train.num_classes, network_seed)
        network.require_linear_classifier("An expert")
        network.fused = True
        return network.to(self.runtime.device)

    def training_set(self) -> TrainingSet:
        """The images, preprocessed once and for all where memory is plentiful, else batch by batch."""
        real = RealTrainingSet(self.train, self.preprocessing, self.runtime.device)
        size = 4 * math.prod(self.train.images.shape)
        if size > available_memory_bytes(self.runtime.device) // FLOAT_IMAGES_SHARE:
            return real
        images = self.preprocessing.apply(self.train.images.to(self.runtime.device))
        labels = Targets(self.train.labels.to(self.runtime.device))
        return TensorTrainingSet(images, labels, self.train.num_classes)
