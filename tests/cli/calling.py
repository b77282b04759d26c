"""Calling `distail` inside the test's process, and looking at what it left behind."""

import io
import json
import re
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distail.cli import main
from distail.data.image_set import ImageSet
from tests.evaluation.separable import images_of

NETWORK = "convnet2-w8"
QUICK: tuple[object, ...] = ("--arch", NETWORK, "--epochs", 12, "--seeds", 1, "--lr", 0.02, "--augmentation", "none")
"""Flags of `evaluate` for one small student that learns in a blink."""
DM = ("--method", "dm", "--arch", NETWORK, "--set", "iterations=3", "--set", "real_batch=4", "--set", "image_lr=0.5")
"""Flags of `distill` for a learning method, cut short."""

_ADVICE = re.compile(
    r"(?:[.:;,] |\bor )(?:then )?(?:use|pass|choose|name|check|give|ask|distil|write|correct|repair|label|number|put"
    r"|add|install|copy|make|lower|remove|leave|see|train|undo|save|finish|restore|did you mean|input should be)\b",
    re.IGNORECASE,
)
"""An imperative at the beginning of a sentence or clause, or what is allowed."""


@dataclass(frozen=True)
class Outcome:
    """What a user gets from one command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output; anything else there is an error."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def flat(self) -> str:
        """Standard output without line breaks and repeated blanks."""
        return " ".join(self.out.split())


def call(*arguments: object) -> Outcome:
    """One command, whose failure is an outcome too; a traceback is an error of the test."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())


def succeed(*arguments: object) -> Outcome:
    """A command that must work."""
    outcome = call(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def contents(*folders: Path) -> dict[str, tuple[bytes, int] | None]:
    """Everything below these folders: files with their bytes and times, folders as None."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else None
        for folder in folders
        for path in folder.rglob("*")
    }


def logged(out: Path) -> int:
    """Iterations in the log of a run, whole lines only."""
    try:
        return (out / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def assert_clear_refusal(outcome: Outcome, *names: str) -> str:
    """Exit code 2 and one paragraph that names these things and says what to do."""
    assert outcome.code == 2, f"exit code {outcome.code}: {outcome.out}{outcome.err}"
    assert outcome.out == ""
    assert outcome.err.endswith("\n")
    assert outcome.err.count("\n") == 1, f"more than one paragraph:\n{outcome.err}"
    assert outcome.err.startswith("distail: ")
    assert "Traceback" not in outcome.err
    message = outcome.err.removeprefix("distail: ")
    assert len(message.split()) >= 5, f"too short to help: {message}"
    for name in names:
        assert name in message, f"'{name}' is not named in: {message}"
    assert _ADVICE.search(message), f"no advice in: {message}"
    return message


def pets(counts: Sequence[int], seed: int) -> ImageSet:
    """Images that are hard enough to tell apart that not every network gets them all right."""
    easy = images_of(counts, seed)
    noise = 70 * torch.randn(easy.images.shape, generator=torch.Generator().manual_seed(1000 + seed))
    pixels = (easy.images + noise).round().clamp(0, 255).to(torch.uint8)
    return ImageSet(pixels, easy.labels, easy.class_names)


def write_npz(path: Path, **splits: ImageSet) -> Path:
    """An .npz file with these splits; a split called `images` stands alone."""
    arrays: dict[str, Any] = {}
    for split, images in splits.items():
        stem = "" if split == "images" else f"{split}_"
        arrays[f"{stem}images"] = images.images.permute(0, 2, 3, 1).numpy()
        arrays[f"{stem}labels"] = images.labels.numpy()
        arrays["class_names"] = np.array(images.class_names)
    np.savez(path, **arrays)
    return path
