"""A report of a run or a grid: facts and real images read, and one page written.

run folder ─ facts ─▶ page ◀─ samples ─ source
grid folder ─ facts ─▶ page
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import RenderableType

from distail.artifact import require_free, try_writing, write_text
from distail.bench.page.grid_facts import GridFacts, is_grid, read_grid_facts
from distail.bench.page.grid_page import grid_page, grid_text
from distail.data.image_set import IN_MEMORY, ImageSet
from distail.errors import DistailError
from distail.progress import Progress, SilentProgress
from distail.report.page.gallery import REAL_PER_CLASS, RealSamples
from distail.report.page.html import is_page
from distail.report.page.run_facts import RunFacts, read_run_facts
from distail.report.page.run_page import run_page, run_text
from distail.run_folder import unused_path
from distail.training_images import load_training_images

FILE_NAME = "report.html"


@dataclass(frozen=True, eq=False)
class Report:
    """A page that was written.

    Attributes:
        path: where.
        num_bytes: its size.
        facts: what it tells.
    """

    path: Path
    num_bytes: int
    facts: RunFacts | GridFacts

    def to_json(self) -> dict[str, Any]:
        """As JSON values: where the page is, and the scores of the run on it, or how far the grid is."""
        told = self.facts.to_json() if isinstance(self.facts, GridFacts) else _run_json(self.facts)
        return {"report": str(self.path), "bytes": self.num_bytes, **told}


def write_report(target: str | Path, out: str | Path | None = None, progress: Progress | None = None) -> Report:
    """Writes the page of a run or a grid.

    Args:
        target: the run folder, or the folder of a grid; nothing of theirs but the page is touched.
        out: file to write, which must not exist. When omitted it is report.html in that folder, in place of the one
            that was made before; or the next free name, where report.html is somebody else's.
        progress: how to report; silent when omitted.

    Raises:
        DistailError: there is neither, what is there cannot be read, or the page cannot be written there.
    """
    if out is not None:
        _require_page_name(Path(out))
        require_free(Path(out))
    elif Path(target).is_dir():
        _require_room_in(Path(target))
    if Path(target).is_file() and Path(target).suffix in (".yaml", ".yml"):
        raise DistailError(
            f"{target} is the text of a grid or a recipe. Name the folder that holds its results: of a grid, that is "
            f"{Path('bench') / Path(target).stem} unless --out names another."
        )
    facts: RunFacts | GridFacts
    if is_grid(target):
        facts = read_grid_facts(target, progress)
        page = grid_page(facts)
    else:
        facts = read_run_facts(target)
        page = run_page(facts, _real_samples(facts, progress or SilentProgress()))
    path = _usual_path(facts.folder) if out is None else Path(out)
    write_text(path, page)
    return Report(path, len(page.encode()), facts)


def report_text(report: Report) -> list[RenderableType]:
    """What the page tells first, for a terminal."""
    return grid_text(report.facts) if isinstance(report.facts, GridFacts) else run_text(report.facts)


def _run_json(facts: RunFacts) -> dict[str, Any]:
    scores = []
    for scored in facts.scored:
        result = scored.result
        scores += [
            {
                "file": scored.file,
                "subject": subject,
                "architecture": architecture,
                "labels": result.of(subject, architecture)[0].labels,
                "accuracy": {"n": value.n, "mean": value.mean, "std": value.std},
                "stored_bytes": result.stored.total,
            }
            for subject, architecture in result.groups
            for value in [result.summary(subject, architecture)["accuracy"]]
        ]
    return {"run": str(facts.folder), "complete": facts.complete, "scores": scores}


def _usual_path(folder: Path) -> Path:
    """Where the page goes: over an earlier one, which says less, but over no other file."""
    usual = folder / FILE_NAME
    return usual if is_page(usual) else unused_path(usual)


def _require_page_name(path: Path) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise DistailError(f"--out {path}: a report is an HTML page. Name it {path.name}.html.")


def _require_room_in(folder: Path) -> None:
    """Refuses a folder that no page can be written into, before one is made."""
    try:
        try_writing(folder)
    except OSError as error:
        raise DistailError(
            f"No page can be written into {folder}: {error.strerror}. Name a file elsewhere with --out FILE.html."
        ) from None


def _real_samples(facts: RunFacts, progress: Progress) -> RealSamples:
    """Some training images of each class, where their source is still there and the same."""
    if facts.recipe is None or facts.source is None:
        return RealSamples(reason="Real images are not shown: nothing says which data the set was made from.")
    if facts.source == IN_MEMORY:
        return RealSamples(reason="Real images are not shown: the set was made from images in memory.")
    if facts.distilled is None:
        return RealSamples(reason="Real images are shown as soon as the run is finished.")
    try:
        images = load_training_images(facts.recipe.data, progress).images
    except DistailError as error:
        return RealSamples(reason=f"Real images are not shown: {error}")
    if images.content_hash != facts.provenance.get("data_sha256") or images.class_names != facts.class_names:
        return RealSamples(
            reason=f"Real images are not shown: {facts.source} has changed since the set was made from it."
        )
    return RealSamples(tuple(_some(images, label) for label in range(images.num_classes)))


def _some(images: ImageSet, label: int) -> torch.Tensor:
    """A few images of a class, evenly chosen."""
    own = images.indices_of(label)
    count = min(len(own), REAL_PER_CLASS)
    return images.images[own[torch.linspace(0, len(own) - 1, count).round().long()]]
