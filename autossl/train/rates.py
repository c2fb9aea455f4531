"""Learning rates that fall from the last layer of a backbone to its first, for training on from given weights."""

import re
from typing import Any

from timm.models import group_parameters
from torch import nn

from autossl.nn.encoder import Encoder

STAGE = re.compile(r"(?:layers?|blocks)\.?\d+\.")  # of MONAI's networks
OF_BLOCKS = 0.75  # a layer's share of the rate of the one after it, in transformers (BEiT, arXiv 2106.08254)


def shares(encoder: Encoder, decay: float) -> dict[nn.Parameter, float]:
    """The share of the learning rate that each parameter of a backbone gets: 1 in the last layer, `decay` before it."""
    layers = layers_of(encoder)
    last = max(layers.values())
    return {p: decay ** (last - layers[name]) for name, p in encoder.backbone.named_parameters()}


def layers_of(encoder: Encoder, coarse: bool = False) -> dict[str, int]:
    """The number of the layer of each parameter of a backbone; 0 is the stem.

    `coarse` counts by stages where a network has some; MONAI's networks always do.
    """
    network: Any = encoder.backbone
    if encoder.dims == 2:
        return dict(group_parameters(network, network.group_matcher(coarse=coarse), reverse=True))
    found, stages = dict[str, int](), [""]
    for name, _ in network.named_parameters():
        stage = STAGE.match(name)
        if stage is not None and stage[0] != stages[-1]:
            stages.append(stage[0])
        found[name] = len(stages) - 1
    return found


def usual_decay(encoder: Encoder) -> float:
    """What fine-tuning takes: 1 for networks without layer norms, those of plain convolutions, where it gains nothing.

    Rates that fall by blocks are the practice for transformers and for ConvNeXt (arXiv 2201.03545).
    """
    return OF_BLOCKS if any(isinstance(part, nn.LayerNorm) for part in encoder.backbone.modules()) else 1.0
