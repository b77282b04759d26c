"""What to type next for a run."""

from __future__ import annotations

import shlex

from distail.data.image_set import IN_MEMORY
from distail.report.page.run_facts import RunFacts


class Commands:
    """What to type next, or in a program, for a run."""

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._run = shlex.quote(str(facts.folder))
        architecture = facts.recipe.architecture if facts.recipe else "convnet3"
        self._arch = "" if architecture == "convnet3" else f" --arch {shlex.quote(architecture)}"

    @property
    def evaluate(self) -> str:
        """Scores the set."""
        return f"distail evaluate {self._run}{self._arch}"

    @property
    def compare(self) -> str:
        """Scores it beside random images and all data."""
        return f"{self.evaluate} --reference random --reference full"

    @property
    def resume(self) -> str:
        """Goes on with an unfinished run; in Python where its images were in memory."""
        if self._facts.source == IN_MEMORY:
            return f"distail.distill(images, ..., out={str(self._facts.folder)!r}, resume=True)"
        recipe = shlex.quote(str(self._facts.folder / "recipe.yaml"))
        return f"distail run {recipe} --out {self._run} --resume"

    @property
    def again(self) -> str:
        """Makes the same set a second time."""
        return f"distail run {shlex.quote(str(self._facts.folder / 'recipe.yaml'))} --out again"

    @property
    def train(self) -> str:
        """Trains one network on the set and keeps it."""
        return f"distail train {self._run}{self._arch} --out student.safetensors"

    @property
    def group(self) -> str:
        """Finds groups of its classes."""
        recipe = self._facts.recipe
        if recipe is None or recipe.data.source == IN_MEMORY:
            return f"distail group {self._run} --out {self._run}/groups"
        parts = [shlex.quote(recipe.data.source)]
        for flag, value in (("imbalance", recipe.data.imbalance), ("holdout", recipe.data.holdout)):
            parts += [f"--{flag} {value:g}"] if value is not None else []
        parts += [f"--image-size {recipe.data.image_size}"] if recipe.data.image_size else []
        return f"distail group {' '.join(parts)}{self._arch} --out {self._run}/groups"

    @property
    def load(self) -> str:
        """Three lines of Python that load the set."""
        return (
            "import distail, torch\n"
            f"small = distail.load_distilled({str(self._facts.folder)!r})\n"
            "loader = torch.utils.data.DataLoader(small.as_dataset(), batch_size=64, shuffle=True)"
        )

    @property
    def views(self) -> str:
        """Lines of Python that train a network on labelled views, after `load`."""
        architecture = self._facts.recipe.architecture if self._facts.recipe else "convnet3"
        return (
            f"network = distail.build_network({architecture!r}, small.image_shape, small.num_classes, seed=0)\n"
            "optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)\n"
            "for epoch in range(1000):\n"
            "    views = torch.utils.data.DataLoader(small.as_views(epoch), batch_size=10, shuffle=True)\n"
            "    for images, logits in views:\n"
            "        optimizer.zero_grad()\n"
            "        torch.nn.functional.mse_loss(network(images), logits).backward()\n"
            "        optimizer.step()"
        )
