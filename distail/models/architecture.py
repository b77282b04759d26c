"""Names of architectures, and the networks that they stand for.

    convnetD[-wWIDTH][-NORM]    convnet3, convnet4-w64, convnet3-batch, convnet3-w64-none; D is 1..9
    resnet18[-NORM]             resnet18, resnet18-batch
    vgg11[-NORM]                vgg11, vgg11-batch
    mobilenetv2[-NORM]          mobilenetv2, mobilenetv2-batch
    shufflenetv2[-NORM]         shufflenetv2, shufflenetv2-batch; width 0.5
    wrn16-2[-NORM]              wrn16-2, wrn16-2-batch
    alexnet
    timm:NAME                   timm:resnet18.a1_in1k, with the optional extra: pip install 'distail[timm]'
    PACKAGE.MODULE              a module with one class that extends Network, built as Class(image_shape, num_classes)
    ANY-cosine                  convnet3-cosine: the same with a classifier that compares directions alone
    ANY+ANY                     convnet3-batch+resnet18-batch: several side by side, the mean of their logits

NORM is instance (what no suffix means), batch, group or none.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable
from functools import partial

import torch

from distail.data.image_set import MIN_IMAGE_SIZE
from distail.errors import DistailError
from distail.models.alexnet import AlexNet
from distail.models.convnet import DEFAULT_WIDTH, ConvNet
from distail.models.cosine import CosineClassifier
from distail.models.ensemble import SEPARATOR, Ensemble
from distail.models.mobilenet import MobileNetV2
from distail.models.network import Network
from distail.models.norm import NORMS, NUM_GROUPS, Norm
from distail.models.resnet import ResNet18
from distail.models.shufflenet import ShuffleNetV2
from distail.models.timm_family import TimmNetwork, check_timm_name
from distail.models.vgg import VGG11
from distail.models.wide_resnet import WideResNet16x2
from distail.plugins import class_in_module, is_module, source_hash
from distail.seeding import isolated_seed

TIMM_PREFIX = "timm:"
COSINE_SUFFIX = "-cosine"

_Constructor = Callable[[tuple[int, int, int], int], Network]

_FAMILIES: dict[str, Callable[..., Network]] = {
    "resnet18": ResNet18,
    "vgg11": VGG11,
    "mobilenetv2": MobileNetV2,
    "shufflenetv2": ShuffleNetV2,
    "wrn16-2": WideResNet16x2,
}
"""What has no width or depth to choose, but a norm."""

_NORM_PATTERN = rf"(?:-(?P<norm>{'|'.join(NORMS)}))?"
_CONVNET = re.compile(rf"convnet(?P<depth>[1-9])(?:-w(?P<width>[1-9][0-9]{{0,3}}))?{_NORM_PATTERN}")
_NAMED = re.compile(rf"(?P<family>{'|'.join(_FAMILIES)}){_NORM_PATTERN}")


def build_network(architecture: str, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> Network:
    """A freshly initialised network; its weights depend on the arguments alone.

    The global random state is left as it was. The network is on the CPU and in training mode.

    Args:
        architecture: a name; `architecture_names` lists common ones and this module's docstring the grammar.
        image_shape: (channels, height, width), sides of at least 8 pixels.
        num_classes: logits an image.
        seed: chooses the weights.

    Raises:
        DistailError: the name is unknown, images are smaller than 8 pixels, there is no channel or no class,
            or timm is not installed or cannot build the model for this image size.

    >>> build_network("convnet3", (3, 32, 32), num_classes=10, seed=0).feature_size
    2048
    """
    constructor = _constructor(architecture)
    channels, height, width = image_shape
    if min(height, width) < MIN_IMAGE_SIZE:
        raise DistailError(
            f"Images are {height}x{width} pixels; {architecture} needs at least "
            f"{MIN_IMAGE_SIZE}x{MIN_IMAGE_SIZE}. Enlarge the images first."
        )
    if channels < 1 or num_classes < 1:
        raise DistailError(f"A network needs at least one channel and one class, not {channels} and {num_classes}.")
    with isolated_seed(seed, "network", architecture), torch.device("cpu"):
        network = constructor((channels, height, width), num_classes)
        if architecture.endswith(COSINE_SUFFIX):
            network.classifier = CosineClassifier(network.feature_size, num_classes)
        return network


def check_architecture(architecture: str) -> None:
    """Refuses a name that `build_network` would refuse, without building anything.

    Only `timm:NAME` imports timm, to look the name up.

    Raises:
        DistailError: the name is unknown, or it needs timm and timm is not installed; the message names the
            closest known name and the grammar.
    """
    _constructor(architecture)


def architecture_source(architecture: str) -> str | None:
    """SHA-256 of the source of a network of one's own, of which its name says nothing; None for built-in ones.

    Of an ensemble, that of the sources of its members.
    """
    sources = [source_hash(name.removesuffix(COSINE_SUFFIX)) for name in architecture.split(SEPARATOR)]
    if len(sources) == 1 or not any(sources):
        return sources[0]
    return hashlib.sha256(SEPARATOR.join(source or "" for source in sources).encode()).hexdigest()


def with_batch_norm(architecture: str) -> str:
    """The same network with batch norm: 'convnet3-batch' for 'convnet3'.

    Names that say which norm they have stay, and so do networks that come with one of their own.
    """
    plain = architecture.removesuffix(COSINE_SUFFIX)
    match = _NAMED.fullmatch(plain) or _CONVNET.fullmatch(plain)
    if match is None or match["norm"]:
        return architecture
    return f"{plain}-batch{architecture.removeprefix(plain)}"


def architecture_names() -> tuple[str, ...]:
    """Common names, all of which `build_network` takes; the grammar allows other widths and depths too."""
    suffixes = ("", *(f"-{norm}" for norm in NORMS if norm != "instance"))
    families = ("convnet3", "convnet4", "convnet5", *_FAMILIES)
    return (*(family + suffix for family in families for suffix in suffixes), "alexnet")


def _ensemble(image_shape: tuple[int, int, int], num_classes: int, members: list[_Constructor]) -> Network:
    return Ensemble([member(image_shape, num_classes) for member in members])


def _constructor(architecture: str) -> _Constructor:
    if SEPARATOR in architecture:
        names = architecture.split(SEPARATOR)
        if any(name.endswith(COSINE_SUFFIX) for name in names):
            raise DistailError(
                f"Architecture '{architecture}' is an ensemble, whose classifier is linear. Use members without "
                f"'{COSINE_SUFFIX}'."
            )
        return partial(_ensemble, members=[_constructor(name) for name in names])
    architecture = architecture.removesuffix(COSINE_SUFFIX)
    if architecture.startswith(TIMM_PREFIX):
        name = architecture.removeprefix(TIMM_PREFIX)
        check_timm_name(name)
        return partial(TimmNetwork, name=name)
    if architecture == "alexnet":
        return AlexNet
    if match := _NAMED.fullmatch(architecture):
        return partial(_FAMILIES[match["family"]], norm=_norm(match))
    if match := _CONVNET.fullmatch(architecture):
        width, norm = int(match["width"] or DEFAULT_WIDTH), _norm(match)
        if norm == "group" and width % NUM_GROUPS:
            raise DistailError(
                f"Architecture '{architecture}' splits {width} channels into {NUM_GROUPS} groups. "
                f"Choose a width that is a multiple of {NUM_GROUPS}, or another normalisation."
            )
        return partial(ConvNet, depth=int(match["depth"]), width=width, norm=norm)
    if is_module(architecture):
        return class_in_module(architecture, Network, "network")
    families = ", ".join(f"{family}[-NORM]" for family in _FAMILIES)
    raise DistailError(
        f"Unknown architecture '{architecture}'.{_suggestion(architecture.lower())} "
        f"Names follow convnetD[-wWIDTH][-NORM], such as convnet2 or convnet3-w64-batch; {families}; alexnet; "
        f"timm:NAME; or a module path; all of them also with {COSINE_SUFFIX} behind. D is 1..9, and NORM one of "
        f"{', '.join(NORMS)}. Choose one of these."
    )


def _suggestion(name: str) -> str:
    """Names the nearest, as a sentence with a blank before it; nothing where none is near."""
    # Where the family is right and only a suffix is wrong, another family is never what was meant.
    known = ("convnet1", "convnet2", *architecture_names())
    same_family = [other for other in known if other.partition("-")[0] == name.partition("-")[0]]
    close = difflib.get_close_matches(name, same_family or known, n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def _norm(match: re.Match[str]) -> Norm:
    by_name: dict[str, Norm] = {norm: norm for norm in NORMS}
    return by_name[match["norm"] or "instance"]
