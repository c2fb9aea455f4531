"""A timm or MONAI backbone as an encoder: pooled embedding and feature pyramid from one forward pass."""

import math
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.errors import UserError
from autossl.errors.keywords import DEVICE
from autossl.nn.intake import Intake, Rescaling
from autossl.nn.networks import REFUSED, create
from autossl.nn.small_maps import serve_small_maps
from autossl.nn.volume_networks import VOLUMES

PATCHES = range(16, 1, -1)
MIN_TOKENS = 4  # patches a side below which a transformer sees too little
TOKENS = 8  # patches a side that are aimed at where an image is smaller than a transformer was made for
PLENTY = 6  # patches a side with which a transformer for images is left as it is
LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}
ALIKE = 0.99  # correlation above which a pooled embedding is the mean of the last map


class Features(NamedTuple):
    """What one forward pass gives: the pooled embedding (b, d) and the maps (b, c, *space), finest first."""

    pooled: Tensor
    pyramid: list[Tensor]


class Encoder(nn.Module):
    """A backbone without its classifier: timm's for images, MONAI's (VOLUMES) for volumes; its name tells which.

    Takes standardised images (b, channels, h, w), or volumes (b, channels, d, h, w) where `dims` is 3. `upsample`
    enlarges them by a fixed factor first: for backbones that have no keyword for small images, and for weights that
    have learnt from larger ones. It is the only thing that the library would have to be told besides `model_args`.
    `rescaled` (factors, summands; one per channel) turns the normalisation of the images into that of the weights; an
    export has it in its own mean and sd instead. With `low_precision` the backbone computes in bf16 while it is
    trained; what it gives is fp32, and in evaluation nothing changes. Parts that are `frozen` stay in evaluation.

    Raises UserError, naming the file `where` they come from, if the backbone is unknown or `model_args` are refused.
    """

    def __init__(
        self,
        backbone: str,
        channels: int,
        image_size: int,
        *,
        model_args: dict[str, Any] | None = None,
        upsample: int | None = None,
        rescaled: Rescaling | None = None,
        where: str | Path = "",
    ) -> None:
        super().__init__()
        self.name, self.channels, self.image_size = backbone, channels, image_size
        self.upsample = upsample or 1
        self.low_precision = False
        self.frozen: list[nn.Module] = []
        given = {} if model_args is None else model_args
        self.backbone = create(backbone, channels, image_size, given, upsample=self.upsample, where=where)
        self.model_args = dict(given)
        self.dims = dims_of(backbone)
        self.intake = Intake(self.dims, self.upsample)
        self.rescale(rescaled)
        serve_small_maps(self.backbone)
        with torch.no_grad():
            was = self.training
            noise = torch.randn(2, channels, *self.size, generator=torch.Generator().manual_seed(0))
            pooled, maps = self.eval().features(noise)
            self.train(was)
        self.dim = pooled.shape[1]  # a head may widen the last map before its classifier (MobileNetV3)
        self.pyramid_channels = tuple(m.shape[1] for m in maps)
        self.cells, self.finest = tuple(maps[-1].shape[2:]), maps[0].shape[2]
        self.mean_pooled = _alike(pooled, maps[-1].flatten(2).mean(2))
        self._taken: dict[tuple[int, ...], bool] = {}

    def rescale(self, by: Rescaling | None) -> None:
        """Take images in another normalisation than before: see `rescaled`; None: as they are."""
        self.rescaled = by
        self.intake.rescale(by, next(self.parameters()).device)

    def train(self, mode: bool = True) -> Self:
        """As in torch, but for frozen parts, whose batch norms neither look at a batch nor move."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels or voxels along each axis of what it takes."""
        return (self.image_size,) * self.dims

    def forward(self, images: Tensor) -> Tensor:
        """Pooled embedding (b, d)."""
        if self.dims == 3:
            return self.features(images).pooled
        with self._autocast(images):
            return cast(Tensor, self.backbone(self.intake(images))).float()

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Feature maps (b, c, *space), finest first."""
        return self.features(images).pyramid

    def features(self, images: Tensor) -> Features:
        """Pooled embedding and feature maps from one pass."""
        if self.dims == 3:
            return self._volume_features(images)
        model = cast(Any, self.backbone)
        levels = len(model.feature_info)
        deep = len({info["reduction"] for info in _infos(model)}) > 1
        # a hierarchical network gives its last four stages, a plain transformer its last layer
        indices = list(range(max(levels - 4, 0), levels)) if deep else [levels - 1]
        with self._autocast(images):
            final, maps = model.forward_intermediates(self.intake(images), indices=indices, norm=not deep)
            pooled = model.forward_head(final, pre_logits=True)
        return Features(pooled.float(), [m.float() for m in maps])

    def takes(self, *size: int) -> bool:
        """Whether images of this size are served too: never by a plain transformer, nor by windows on a fixed grid."""
        if size not in self._taken:
            self._taken[size] = len(self.pyramid_channels) > 1 and self._runs(size)
        return self._taken[size]

    def _runs(self, size: tuple[int, ...]) -> bool:
        was, like = self.training, next(self.parameters())
        try:
            with torch.no_grad():
                self.eval().forward(torch.zeros(1, self.channels, *size, device=like.device))
        except REFUSED:
            return False
        finally:
            self.train(was)
        return True

    def _volume_features(self, images: Tensor) -> Features:
        with self._autocast(images):
            maps = VOLUMES[self.name].stages(self.backbone, self.intake(images))
        maps = [m.float() for m in maps[-4:]]
        return Features(maps[-1].flatten(2).mean(2), maps)

    def _autocast(self, images: Tensor) -> torch.autocast:
        return torch.autocast(images.device.type, torch.bfloat16, enabled=self.low_precision and self.training)


def _alike(pooled: Tensor, mean: Tensor) -> bool:
    """Whether embeddings (b, d) are the means (b, c) of a map, as they are or normalised."""
    if pooled.shape != mean.shape:
        return False
    one, other = (values - values.mean(1, keepdim=True) for values in (pooled, mean))
    return bool((F.cosine_similarity(one, other) > ALIKE).all())


def _infos(model: Any) -> list[dict[str, Any]]:
    info = model.feature_info
    return list(info.info) if hasattr(info, "info") else list(info)


def dims_of(backbone: str) -> int:
    """2 for a backbone that takes images, 3 for one that takes volumes."""
    return 3 if backbone in VOLUMES else 2


def channels_last(module: nn.Module, dims: int) -> None:
    """Lay the filters of a network for images or volumes out as convolutions want them; values stay what they are."""
    for weights in module.parameters():
        if weights.ndim == dims + 2:
            weights.data = weights.data.contiguous(memory_format=LAYOUTS[dims])


def check_device(device: str) -> None:
    """UserError for a device that is not here."""
    kind, _, number = DEVICE.take("--device", device).partition(":")
    if kind == "cuda" and int(number or 0) >= (count := torch.cuda.device_count()):
        raise UserError(
            f"a CUDA GPU that torch can use was wanted for --device {device}, found {count or 'none'} on this machine; "
            "give --device cpu or auto"
        )


def default_precision(device: str, dims: int = 2) -> str:
    """bf16 where the device has instructions for it, otherwise fp32; fp32 for volumes on a CPU.

    There the gradients of 3-D convolutions in bf16 came out infinite (docs/decisions.md).
    """
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if dims == 3:
        return "fp32"
    can = torch.cpu.get_capabilities()
    return "bf16" if can.get("avx512_bf16") or can.get("amx_bf16") else "fp32"


def fit_to_size(backbone: str, channels: int, image_size: int) -> tuple[dict[str, Any], int]:
    """Keywords for timm or MONAI, and an up-sampling factor, with which `backbone` keeps at least 2 cells a side.

    A plain transformer for images gets patches of about an eighth of the side unless its own leave 6 or more a side:
    2 x 2 patches of 16 px tell it little. Keywords are preferred because the library then rebuilds the same network
    from `config.json`; a fixed up-sampling of the input comes last. Raises UserError if nothing serves.
    """
    if backbone not in VOLUMES or not VOLUMES[backbone].sized:
        create(backbone, channels, image_size, {})  # what cannot be built at all says why
    model_args = _keywords(backbone, channels, image_size)
    if model_args is not None:
        return model_args, 1
    for factor in (2, 4, 8):
        for enlarged in ({}, {"img_size": factor * image_size}):
            cells, plain = _cells(backbone, channels, image_size, enlarged, factor)
            if cells >= (MIN_TOKENS if plain else 2):
                return enlarged, factor
    raise UserError(
        f"a backbone that can take {image_size} px images was wanted, but {backbone!r} leaves fewer than 2 cells "
        "a side with every keyword that it offers and with 8 x up-sampling; choose a larger --image-size or "
        f"{default_backbone(image_size, 'cpu', dims_of(backbone))}"
    )


def enlarged(backbone: str, channels: int, image_size: int, factor: int) -> dict[str, Any] | None:
    """Keywords with which `backbone` takes images that are enlarged by this factor; None if it cannot."""
    return _keywords(backbone, channels, factor * image_size)


def _keywords(backbone: str, channels: int, image_size: int) -> dict[str, Any] | None:
    """The keywords that change the network least and leave enough cells; None if no keywords do."""
    sparse = None  # what leaves a transformer few patches, if it knows no other size of them
    for model_args in _options(backbone, image_size):
        cells, plain = _cells(backbone, channels, image_size, model_args, 1)
        if cells < 2:
            continue
        if not plain or cells >= PLENTY or "patch_size" in model_args:
            return model_args
        sparse = model_args if sparse is None else sparse
    return sparse


def _options(backbone: str, image_size: int) -> list[dict[str, Any]]:
    """Keywords to try, those that change the network least first."""
    fitting = [p for p in PATCHES if image_size % p == 0 and image_size // p >= MIN_TOKENS]
    if backbone not in VOLUMES:
        near = sorted(fitting, key=lambda p: abs(math.log(p * TOKENS / image_size)))
        patches = [{"img_size": image_size, "patch_size": p} for p in near]
        return [{}, {"output_stride": 16}, {"output_stride": 8}, {"img_size": image_size}, *patches]
    if VOLUMES[backbone].sized:
        return [{"img_size": image_size, "patch_size": p} for p in fitting]
    return list(VOLUMES[backbone].fits)


def _cells(
    backbone: str, channels: int, image_size: int, model_args: dict[str, Any], upsample: int
) -> tuple[int, bool]:
    """Cells a side of the last map, 0 if the network cannot be built or run like this; whether it has one map only."""
    try:
        with torch.no_grad():
            encoder = Encoder(backbone, channels, image_size, model_args=model_args, upsample=upsample)
            encoder.eval()(torch.zeros(1, channels, *encoder.size))
    except (UserError, *REFUSED):
        return 0, False
    return min(encoder.cells), encoder.dims == 2 and len(encoder.pyramid_channels) == 1


def default_backbone(image_size: int, device: str, dims: int = 2) -> str:
    """The backbone for this image size and device; measured on CPU cores, see docs/decisions.md."""
    if dims == 3:
        return "resnet10_half_3d" if device == "cpu" else "resnet18_3d"
    if device == "cpu":
        return "resnet10t"
    return "resnet18" if image_size <= 64 else "resnet50"
