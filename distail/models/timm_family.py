"""Any architecture of the timm library, as `timm:NAME`, with random weights.

timm is an optional extra and is imported only when such a name is used.

Source: Wightman, PyTorch Image Models, https://github.com/huggingface/pytorch-image-models.
"""

from __future__ import annotations

import difflib
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distail.errors import DistailError, did_you_mean
from distail.models.network import Network


@final
class TimmNetwork(Network):
    """A timm feature extractor with a linear classifier of our own; no pretrained weights.

    Args:
        image_shape: (channels, height, width).
        num_classes: logits an image.
        name: timm's name, with or without a pretraining tag. A tag selects the variant; its weights are not
            loaded.

    Raises:
        DistailError: timm is not installed, does not know the name, or cannot build the model for this image
            size.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, name: str) -> None:
        super().__init__()
        check_timm_name(name)
        self.backbone = _feature_extractor(name, image_shape)
        self.feature_size = _measured_feature_size(self.backbone, name, image_shape)
        self.classifier = nn.Linear(self.feature_size, num_classes)

    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """timm's pooled features."""
        return self.backbone(images)


def check_timm_name(name: str) -> None:
    """Refuses a name that timm does not know.

    Raises:
        DistailError: timm is not installed, or the name is unknown; the message names the closest one.
    """
    timm = _import_timm()
    base = name.partition(".")[0]
    bases = timm.list_models()
    if base not in bases:
        raise DistailError(f"timm has no model '{name}'. {_suggestion(base, bases)}")
    if base != name:
        tagged = timm.list_models(f"{base}.*", include_tags=True)
        if name not in tagged:
            raise DistailError(f"timm has no variant '{name}' of '{base}'. {did_you_mean(name, [base, *tagged])}")


def _import_timm() -> Any:
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision built for another torch
        raise DistailError(
            f"Architectures named timm:NAME need the timm library, which cannot be imported ({error}). "
            "Run: pip install 'distail[timm]'"
        ) from None
    return timm


def _suggestion(name: str, known: list[str]) -> str:
    # timm knows over a thousand names: too many to list where nothing is close.
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return did_you_mean(name, close) if close else "timm.list_models() lists what there is."


def _feature_extractor(name: str, image_shape: tuple[int, int, int]) -> nn.Module:
    timm = _import_timm()
    channels, height, width = image_shape
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    # Transformers with position embeddings are built for one image size; most other models refuse the option.
    sized = {"img_size": (height, width)} if config is not None and config.fixed_input_size else {}
    try:
        return timm.create_model(name, pretrained=False, in_chans=channels, num_classes=0, **sized)
    except Exception as error:
        raise _does_not_fit(name, image_shape, error) from error


def _measured_feature_size(backbone: nn.Module, name: str, image_shape: tuple[int, int, int]) -> int:
    # Several families widen their features after `num_features`; one image through the network tells for all.
    backbone.eval()
    try:
        with torch.no_grad():
            features = backbone(torch.zeros(1, *image_shape))
    except Exception as error:
        raise _does_not_fit(name, image_shape, error) from error
    finally:
        backbone.train()
    if features.ndim != 2 or features.shape[1] == 0:
        raise DistailError(
            f"timm:{name} gives features of shape {tuple(features.shape)} instead of one vector an image. "
            "Choose a classification model."
        )
    return features.shape[1]


def _does_not_fit(name: str, image_shape: tuple[int, int, int], error: Exception) -> DistailError:
    channels, height, width = image_shape
    return DistailError(
        f"timm:{name} does not take {height}x{width} images of {channels} channels ({error}). "
        "Choose a larger --image-size or another model."
    )
