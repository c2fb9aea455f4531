"""Crops of one image that share a part of it."""

import torch
from torch import Tensor


def overlapping(places: Tensor, extents: Tensor, share: float) -> Tensor:
    """Places of crops (copies, b, dims) in [0, 1], later ones moved to the first where they share too little with it.

    `extents` are the sides of the crops in units of the image's; a place says how far a crop lies on its way from one
    border to the other along each axis. A crop that shares less than `share` of the area (volume) of the smaller one is
    moved just so far that along each axis they share as large a part of the shorter side, and stays inside the image.
    `share` is at most what two crops with the same centre have in common.
    """
    first, later = extents[:1], extents[1:]
    shorter = torch.minimum(first, later)
    smaller = torch.minimum(first.prod(2), later.prod(2))
    centres = (2 * places - 1) * (1 - extents)  # in [-1, 1]; a crop reaches one extent to either side of it
    away = centres[1:] - centres[:1]
    common = torch.minimum(shorter, (first + later - away.abs()) / 2).clamp_min(0).prod(2)
    part = (share * smaller / shorter.prod(2)) ** (1 / places.shape[2])  # of the shorter side, along each axis
    reach = first + later - 2 * part[..., None] * shorter
    moved = centres[:1] + torch.minimum(torch.maximum(away, -reach), reach)
    # a crop that fills an axis has no room there
    found = (moved / (1 - later).clamp_min(1e-6) + 1) / 2
    stay = (common >= share * smaller)[..., None]
    return torch.cat([places[:1], torch.where(stay, places[1:], found.clamp(0, 1))])
