"""What of an encoder a readout looks at: the pooled embedding, two stages side by side, means over flips and turns."""

from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.volume_networks import VOLUMES

VIEWS = 8  # flips and turns of an image, or flips of a volume
EARLIER = 4  # blocks: so far before the end of a plain transformer lies its second stage


@dataclass(frozen=True)
class Sight:
    """One way to turn images into what a readout takes; its fields are JSON."""

    stages: int = 1  # 1: the pooled embedding; 2: beside it the mean of the stage before the last
    turned: bool = False  # the mean over all flips and right angles, where orientation tells nothing
    maps: bool = False  # `Maps` in place of an embedding, for what answers at every place of an image

    def words(self, dims: int) -> str:
        """What a probe stands on, as a sentence goes on with it; empty for the pooled embedding."""
        if self.maps:
            return " on all maps"
        found = " on the last two stages" if self.stages > 1 else ""
        views = "eight flips and turns" if dims == 2 else "eight flips"
        return found + (("," if found else " on the") + f" mean over {views}" if self.turned else "")


class Maps(NamedTuple):
    """What an encoder sees of images place by place: the standardised images, and its maps, finest first."""

    images: Tensor  # (b, c, *space)
    pooled: Tensor  # (b, d)
    pyramid: list[Tensor]  # (b, c, *space) each


PLAIN, MAPS = Sight(), Sight(maps=True)


def width(encoder: Encoder, sight: Sight) -> int:
    """Numbers that a readout with this sight takes for each image."""
    return encoder.dim + (encoder.pyramid_channels[-2:][0] if sight.stages > 1 else 0)


def earlier(encoder: Encoder) -> int:
    """The place of the second stage among those that timm tells, or among the blocks of a plain transformer."""
    model = cast(Any, encoder.backbone)
    levels = len(model.blocks if encoder.dims == 3 else model.feature_info)
    return levels - 2 if len(encoder.pyramid_channels) > 1 else max(0, levels - 1 - EARLIER)


def looked(encoder: Encoder, images: Tensor, sight: Sight = PLAIN) -> Tensor:
    """What a readout with this sight takes, (b, width), of standardised images (b, c, *space).

    The first columns with two stages are those with one.
    """
    if not sight.turned:
        return _once(encoder, images, sight.stages)
    return torch.stack([_once(encoder, view, sight.stages) for view in views(images)]).mean(0)


def views(images: Tensor) -> list[Tensor]:
    """Images (b, c, h, w) flipped and transposed, or volumes (b, c, d, h, w) flipped, in VIEWS ways."""
    two = images.ndim == 4
    axes = [[axis for axis, flip in enumerate(flips, 2) if flip] for flips in product((0, 1), repeat=images.ndim - 2)]
    return [view.flip(flipped) for view in ((images, images.mT) if two else (images,)) for flipped in axes]


def mapped(encoder: Encoder, images: Tensor) -> Maps:
    """What a readout that answers place by place takes of standardised images (b, c, *space)."""
    return Maps(images, *encoder.features(images))


def taken(encoder: Encoder, images: Tensor, sight: Sight) -> Tensor | Maps:
    """What a readout with this sight takes of standardised images (b, c, *space)."""
    return mapped(encoder, images) if sight.maps else looked(encoder, images, sight)


def _once(encoder: Encoder, images: Tensor, stages: int) -> Tensor:
    if stages == 1:
        return cast(Tensor, encoder(images))
    if len(encoder.pyramid_channels) == 1:
        return _two_blocks(encoder, images)
    pooled, maps = encoder.features(images)
    return torch.cat([pooled, maps[-2].flatten(2).mean(2)], 1)


def _two_blocks(encoder: Encoder, images: Tensor) -> Tensor:
    """Of a plain transformer, whose maps have one size: its embedding and the mean token of an earlier block."""
    model, x, place = cast(Any, encoder.backbone), encoder.intake(images), earlier(encoder)
    if encoder.dims == 3:
        assert VOLUMES[encoder.name].sized, "a network for volumes with one stage is a transformer"
        tokens, blocks = model(x)
        return torch.cat([tokens.mean(1), blocks[place].mean(1)], 1)
    final, maps = model.forward_intermediates(x, indices=[place], norm=True)
    return torch.cat([model.forward_head(final, pre_logits=True), maps[0].flatten(2).mean(2)], 1)
