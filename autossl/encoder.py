"""A timm backbone as an encoder: pooled embedding and feature pyramid from one forward pass."""

from typing import Any, NamedTuple, cast

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.errors import UserError

PATCHES = (16, 14, 8, 7, 4, 2)
MIN_TOKENS = 4  # patches a side below which a transformer sees too little


class Features(NamedTuple):
    """What one forward pass gives: the pooled embedding (b, d) and the maps (b, c, h, w), finest first."""

    pooled: Tensor
    pyramid: list[Tensor]


class Encoder(nn.Module):
    """A timm backbone without its classifier.

    Takes standardised images (b, channels, h, w). `upsample` enlarges them by a fixed factor first; it is the last
    resort for backbones that have no keyword for small images, and the only thing that a plain
    `timm.create_model` would have to be told besides `model_args`. With `low_precision` the backbone computes in
    bf16 while it is trained; what it gives is fp32, and in evaluation nothing changes.

    Raises UserError if timm does not know the backbone or refuses `model_args`.
    """

    def __init__(
        self,
        backbone: str,
        channels: int,
        image_size: int,
        *,
        model_args: dict[str, Any] | None = None,
        upsample: int | None = None,
    ) -> None:
        super().__init__()
        self.name, self.channels, self.image_size = backbone, channels, image_size
        self.model_args = dict(model_args or {})
        self.upsample = upsample or 1
        self.low_precision = False
        self.backbone = _create(backbone, channels, self.model_args)
        self.dim = int(cast(Any, self.backbone).num_features)
        with torch.no_grad():
            was = self.training
            maps = self.eval().features(torch.zeros(1, channels, image_size, image_size)).pyramid
            self.train(was)
        self.pyramid_channels = tuple(m.shape[1] for m in maps)
        self.cells = tuple(maps[-1].shape[2:])

    def forward(self, images: Tensor) -> Tensor:
        """Pooled embedding (b, d)."""
        with self._autocast(images):
            return cast(Tensor, self.backbone(self._enlarged(images))).float()

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Feature maps (b, c, h, w), finest first."""
        return self.features(images).pyramid

    def features(self, images: Tensor) -> Features:
        """Pooled embedding and feature maps from one pass."""
        model = cast(Any, self.backbone)
        levels = len(model.feature_info)
        deep = len({info["reduction"] for info in _infos(model)}) > 1
        # a hierarchical network gives its last four stages, a plain transformer its last layer
        indices = list(range(max(levels - 4, 0), levels)) if deep else [levels - 1]
        with self._autocast(images):
            final, maps = model.forward_intermediates(self._enlarged(images), indices=indices, norm=not deep)
            pooled = model.forward_head(final, pre_logits=True)
        return Features(pooled.float(), [m.float() for m in maps])

    def _autocast(self, images: Tensor) -> torch.autocast:
        return torch.autocast(images.device.type, torch.bfloat16, enabled=self.low_precision and self.training)

    def _enlarged(self, images: Tensor) -> Tensor:
        if self.upsample == 1:
            return images
        return F.interpolate(images, scale_factor=float(self.upsample), mode="bilinear", align_corners=False)


def _infos(model: Any) -> list[dict[str, Any]]:
    info = model.feature_info
    return list(info.info) if hasattr(info, "info") else list(info)


def _create(backbone: str, channels: int, model_args: dict[str, Any]) -> nn.Module:
    if not timm.is_model(backbone):
        close = ", ".join(timm.list_models(f"*{backbone[:6]}*")[:5]) or "resnet10t, resnet18, vit_small_patch16_224"
        raise UserError(
            f"a backbone that timm knows was wanted, but timm has no {backbone!r}; "
            f"similar names: {close} (autossl list backbones shows all)"
        )
    try:
        return timm.create_model(backbone, num_classes=0, in_chans=channels, **model_args)
    except (TypeError, RuntimeError, ValueError, AssertionError) as fault:
        raise UserError(f"timm cannot build {backbone!r} with {model_args}: {_line(fault)}; choose others") from fault


def _line(fault: Exception) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0][:160]


def default_precision(device: str) -> str:
    """bf16 where the device has instructions for it, otherwise fp32."""
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    can = torch.cpu.get_capabilities()
    return "bf16" if can.get("avx512_bf16") or can.get("amx_bf16") else "fp32"


def fit_to_size(backbone: str, channels: int, image_size: int) -> tuple[dict[str, Any], int]:
    """Keywords for timm, and an up-sampling factor, with which `backbone` keeps at least 2 x 2 cells.

    Keywords are preferred because timm then rebuilds the same network from `config.json`; a fixed up-sampling of
    the input comes last. Raises UserError if nothing serves.
    """
    patches = [
        {"img_size": image_size, "patch_size": p}
        for p in PATCHES
        if image_size % p == 0 and image_size // p >= MIN_TOKENS
    ]
    _create(backbone, channels, {})
    options: list[dict[str, Any]] = [{}, {"output_stride": 16}, {"output_stride": 8}, {"img_size": image_size}]
    for model_args in [*options, *patches]:
        if _cells(backbone, channels, image_size, model_args, 1) >= 2:
            return model_args, 1
    for factor in (2, 4, 8):
        if _cells(backbone, channels, image_size, {}, factor) >= 2:
            return {}, factor
    raise UserError(
        f"a backbone that can take {image_size} px images was wanted, but {backbone!r} leaves fewer than 2 x 2 cells "
        "with every keyword that timm offers and with 8 x up-sampling; choose a larger --image-size or resnet10t"
    )


def _cells(backbone: str, channels: int, image_size: int, model_args: dict[str, Any], upsample: int) -> int:
    """Cells a side of the last map, 0 if the network cannot be built or run like this."""
    try:
        with torch.no_grad():
            encoder = Encoder(backbone, channels, image_size, model_args=model_args, upsample=upsample)
            encoder.eval()(torch.zeros(1, channels, image_size, image_size))
    except (UserError, RuntimeError, AssertionError, ValueError, TypeError):
        return 0
    return min(encoder.cells)


def default_backbone(image_size: int, device: str) -> str:
    """The backbone for this image size and device; measured on two CPU cores, see docs/decisions.md."""
    if device == "cpu":
        return "resnet10t"
    return "resnet18" if image_size <= 64 else "resnet50"
