"""MONAI's networks as backbones for volumes: how each is built, and the maps that its stages give."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

from autossl.errors import UserError


class Network(NamedTuple):
    """A class of MONAI with its arguments; `stages` gives its maps (b, c, d, h, w), finest first, from a batch."""

    place: str  # module and class
    arguments: dict[str, Any]
    channels: str  # the argument that takes the number of input channels
    stages: Callable[[Any, Tensor], list[Tensor]]
    fits: tuple[dict[str, Any], ...] = ({},)  # arguments that keep more and more cells of small cubes
    sized: bool = False  # takes cubes of one size only, divided into patches


def resnet_stages(network: Any, x: Tensor) -> list[Tensor]:
    """Maps of the four residual stages; their mean over space is what the network itself returns."""
    x = network.act(network.bn1(network.conv1(x)))
    if not network.no_max_pool:
        x = network.maxpool(x)
    maps = []
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        x = layer(x)
        maps.append(x)
    return maps


def segres_stages(network: Any, x: Tensor) -> list[Tensor]:
    """Maps of all levels but the first, which is as fine as the input and would make every decoder dear."""
    return cast(list[Tensor], network(x))[1:]


def swin_stages(network: Any, x: Tensor) -> list[Tensor]:
    """Normalised maps after each of the four mergers, as SwinUNETR hands them to its decoder."""
    return cast(list[Tensor], network(x))[1:]


def vit_stages(network: Any, x: Tensor) -> list[Tensor]:
    """The normalised tokens of the last layer as one map."""
    tokens = network(x)[0]
    side = round(tokens.shape[1] ** (1 / 3))
    return [tokens.transpose(1, 2).unflatten(2, (side, side, side))]


def _resnet(block: str, layers: list[int], narrower: int = 1) -> Network:
    # shortcuts and biases as in the MedicalNet weights (Chen et al. 2019, arXiv 1904.00625)
    early = layers in ([2, 2, 2, 2], [3, 4, 6, 3]) and block == "basic"
    widths = [width // narrower for width in (64, 128, 256, 512)]
    arguments = {
        **{"block": block, "layers": layers, "block_inplanes": widths, "conv1_t_stride": 2, "feed_forward": False},
        **{"shortcut_type": "A" if early else "B", "bias_downsample": early},
    }
    fits: tuple[dict[str, Any], ...] = ({}, {"no_max_pool": True}, {"no_max_pool": True, "conv1_t_stride": 1})
    return Network("monai.networks.nets.resnet.ResNet", arguments, "n_input_channels", resnet_stages, fits)


def _segres(filters: int, blocks: list[int]) -> Network:
    place = "monai.networks.nets.segresnet_ds.SegResEncoder"
    fits = tuple(
        {"blocks_down": blocks[:levels]} if levels < len(blocks) else {} for levels in range(len(blocks), 2, -1)
    )
    return Network(place, {"init_filters": filters, "blocks_down": blocks}, "in_channels", segres_stages, fits)


def _swin(width: int) -> Network:
    arguments = {
        **{"embed_dim": width, "window_size": [7, 7, 7], "patch_size": [2, 2, 2]},
        **{"depths": [2, 2, 2, 2], "num_heads": [3, 6, 12, 24]},
    }
    place = "monai.networks.nets.swin_unetr.SwinTransformer"
    return Network(place, arguments, "in_chans", swin_stages, ({}, {"patch_size": [1, 1, 1]}))


def _vit(width: int, heads: int) -> Network:
    arguments = {"hidden_size": width, "mlp_dim": 4 * width, "num_layers": 12, "num_heads": heads, "patch_size": 16}
    return Network("monai.networks.nets.vit.ViT", arguments, "in_channels", vit_stages, sized=True)


VOLUMES: dict[str, Network] = {
    "resnet10_half_3d": _resnet("basic", [1, 1, 1, 1], narrower=2),
    "resnet10_3d": _resnet("basic", [1, 1, 1, 1]),
    "resnet18_3d": _resnet("basic", [2, 2, 2, 2]),
    "resnet34_3d": _resnet("basic", [3, 4, 6, 3]),
    "resnet50_3d": _resnet("bottleneck", [3, 4, 6, 3]),
    "segresnet_3d": _segres(16, [1, 2, 2, 4]),
    "segresnet_large_3d": _segres(32, [1, 2, 2, 4, 4]),
    "swin_unetr_small": _swin(24),
    "swin_unetr": _swin(48),
    "vit_tiny_3d": _vit(192, 3),
    "vit_small_3d": _vit(384, 6),
    "vit_base_3d": _vit(768, 12),
}


def arguments(name: str, channels: int, image_size: int, model_args: dict[str, Any]) -> dict[str, Any]:
    """Everything that the class of MONAI is called with; all of it can be written as JSON."""
    network = VOLUMES[name]
    sized = {"img_size": image_size} if network.sized else {"spatial_dims": 3}
    return {**network.arguments, **sized, network.channels: channels, **model_args}


def build(name: str, channels: int, image_size: int, model_args: dict[str, Any]) -> nn.Module:
    """The plain MONAI network with random weights. MONAI takes seconds to import, so it is imported here.

    Raises UserError if MONAI refuses the arguments.
    """
    module, _, cls = VOLUMES[name].place.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), cls)(**arguments(name, channels, image_size, model_args))
        return cast(nn.Module, made)
    except ImportError as fault:  # MONAI's transformers need einops and do not ask for it
        missing = (str(fault).splitlines() or ["a package"])[0][:160]
        raise UserError(
            f"MONAI needs a package for {name!r} that is not here ({missing}); pip install einops"
        ) from fault
    except (TypeError, RuntimeError, ValueError, AssertionError) as fault:
        line = (str(fault).splitlines() or [type(fault).__name__])[0][:160]
        raise UserError(
            f"MONAI cannot build {name!r} for {image_size} voxels a side with {model_args}: {line}; choose others"
        ) from fault
