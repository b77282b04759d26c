"""What to type next for a run."""

from __future__ import annotations

import shlex
from functools import cached_property

from distail.data.image_set import IN_MEMORY
from distail.report.page.run_facts import RunFacts
from distail.scorable import has_test_images, has_test_split
from distail.training.recipe import TrainRecipe

_LOSSES = {
    "squared_error": "torch.nn.functional.mse_loss(network(images), logits)",
    "cross_entropy": "torch.nn.functional.cross_entropy(network(images), logits.softmax(dim=1))",
    "divergence": "torch.nn.functional.kl_div((network(images) / {temperature:g}).log_softmax(dim=1), "
    "(logits / {temperature:g}).softmax(dim=1), reduction='batchmean')",
}
"""Losses of a recipe in lines of Python."""


class Commands:
    """What to type next, or in a program, for a run."""

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._run = shlex.quote(str(facts.folder))
        architecture = facts.recipe.architecture if facts.recipe else "convnet3"
        self._arch = "" if architecture == "convnet3" else f" --arch {shlex.quote(architecture)}"

    @cached_property
    def _knows_test_images(self) -> bool:
        """Asked once, as sources may be far away."""
        return self._facts.recipe is None or has_test_images(self._facts.recipe)

    @property
    def evaluate(self) -> str:
        """Scores the set."""
        return f"distail evaluate {self._run}{self._arch}{'' if self._knows_test_images else ' --test HELD_OUT_IMAGES'}"

    @property
    def grid(self) -> str:
        """Makes the page of the grid whose set this is, which has its scores; empty where it is no grid's."""
        folder = self._facts.folder.resolve().parent.parent  # GRID/sets/KEY
        is_of_grid = self._facts.folder.resolve().parent.name == "sets" and (folder / "grid.yaml").exists()
        return f"distail report {shlex.quote(str(folder))}" if is_of_grid else ""

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
    def prepare(self) -> str:
        """Lines of Python that make of test images what a network must see, after `load`."""
        recipe, distilled = self._facts.recipe, self._facts.distilled
        height, width = distilled.image_shape[1:] if distilled else (0, 0)
        size = f"image_size={height if height == width else (height, width)}"
        if recipe is None or recipe.data.source == IN_MEMORY or not self._knows_test_images:
            test = f"distail.load('HELD_OUT_IMAGES', {size})"
        elif recipe.test is not None:
            name = "load_test" if has_test_split(recipe.test) else "load"
            test = f"distail.{name}({recipe.test!r}, {size})"
        else:
            aside = f", holdout={recipe.data.holdout:g}" if recipe.data.holdout is not None else ""
            resized = f", {size}" if recipe.data.image_size else ""
            test = f"distail.load_test({recipe.data.source!r}{resized}{aside})"
        return f"test = {test}\ninputs = small.preprocessing.apply(test.images)"

    @property
    def views(self) -> str:
        """Lines of Python that train a network on labelled views, after `load`, as the set's students learn."""
        architecture = self._facts.recipe.architecture if self._facts.recipe else "convnet3"
        distilled = self._facts.distilled
        training = (distilled.training if distilled else None) or TrainRecipe()
        kind = "AdamW" if training.optimizer == "adamw" else "SGD"
        momentum = f", momentum={training.momentum:g}" if kind == "SGD" else ""
        decay = f", weight_decay={training.weight_decay:g}"
        return (
            f"network = distail.build_network({architecture!r}, small.image_shape, small.num_classes, seed=0)\n"
            f"optimizer = torch.optim.{kind}(network.parameters(), lr={training.learning_rate:g}{momentum}{decay})\n"
            f"for epoch in range({training.num_epochs}):\n"
            f"    views = torch.utils.data.DataLoader(small.as_views(epoch), batch_size={training.batch_size}, "
            "shuffle=True)\n"
            "    for images, logits in views:\n"
            "        optimizer.zero_grad()\n"
            f"        {_LOSSES[training.loss].format(temperature=training.temperature)}.backward()\n"
            "        optimizer.step()"
        )
