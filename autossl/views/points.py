"""Boxes in views: where the views of an image have what was marked on it."""

import torch
from torch import Tensor

from autossl.views.images import Views

LEAST_SEEN = 0.3  # of a box that a view shows; less is cut off


def followed(boxes: Tensor, views: Views, u: Tensor) -> Tensor:
    """Boxes (b, k, 4) in shares of square images as the views that `u` describes have them, cut at their border.

    x0, y0, x1, y1, NaN for none and for what a view cuts off. Of a turned box it is the box around its corners: exact
    for flips and right angles. The views must not bend (`Views.upright`).
    """
    assert not views.bent.elastic, "boxes have no shape that could be bent"
    middle = views.places(u, (1, 1), (2, 2))  # where points at a quarter and three quarters of a view look
    origin, along, across = (
        middle[:, 0, 0], 2 * (middle[:, 0, 1] - middle[:, 0, 0]), 2 * (middle[:, 1, 0] - middle[:, 0, 0])
    )  # fmt: skip
    back = torch.linalg.inv(torch.stack([along, across], dim=2))
    corners = torch.stack([boxes[..., [0, 1]], boxes[..., [2, 1]], boxes[..., [0, 3]], boxes[..., [2, 3]]], dim=2)
    seen = torch.einsum("bij,bkcj->bkci", back, corners - origin[:, None, None]) + 0.25
    whole = torch.cat([seen.amin(2), seen.amax(2)], dim=-1)
    inside = whole.clamp(0, 1)
    lost = _area(inside) < LEAST_SEEN * _area(whole)
    return torch.where(lost[..., None] | whole.isnan(), torch.nan, inside)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
