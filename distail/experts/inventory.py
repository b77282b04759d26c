"""What an expert bank holds, and who can use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from distail.experts.bank import ExpertBank
from distail.experts.spec import ExpertSpec


@dataclass(frozen=True)
class Kind:
    """All experts of one kind on one data set.

    Attributes:
        key: name of their folder.
        kind: 'representation' or 'classifier'.
        source: where the data were read from.
        data_sha256: content hash of the data.
        architecture: of the network.
        preprocessing: of the images.
        spec: how they are trained.
        epochs: epochs trained, one number an expert.
        num_bytes: on disk.
        usable_by: methods whose default settings ask for this kind of training, for however many epochs.
    """

    key: str
    kind: str
    source: str
    data_sha256: str
    architecture: str
    preprocessing: str
    spec: dict[str, Any]
    epochs: tuple[int, ...]
    num_bytes: int
    usable_by: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "epochs": list(self.epochs), "usable_by": list(self.usable_by)}


def inventory(bank: ExpertBank, wanted: Mapping[str, Sequence[ExpertSpec]]) -> list[Kind]:
    """What the bank holds, in the order of folders.

    Args:
        bank: to look into; nothing is written.
        wanted: by method, the kinds of experts that it asks for.

    Raises:
        DistailError: the bank is no folder, or a folder of it has been altered.
    """
    found = []
    for shelf in bank.shelves():
        identity, spec = shelf.identity, shelf.identity["spec"]
        users = [name for name, specs in wanted.items() if any(_alike(spec, one) for one in specs)]
        found.append(
            Kind(
                key=shelf.key,
                kind=spec["kind"],
                source=shelf.source,
                data_sha256=identity["data_sha256"],
                architecture=identity["architecture"],
                preprocessing=identity["preprocessing"]["kind"],
                spec=spec,
                epochs=tuple(max(shelf.num_epochs(expert), 0) for expert in shelf.experts()),
                num_bytes=shelf.num_bytes,
                usable_by=tuple(users),
            )
        )
    return found


def _alike(spec: dict[str, Any], wanted: ExpertSpec) -> bool:
    """Whether training is the same; for how long backbones were trained is a setting of the run."""
    asked = wanted.model_dump(mode="json")
    return {**spec, "base_epochs": None} == {**asked, "base_epochs": None}
