"""Features of an encoder at single places of images: what linear readouts of maps are fitted on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from autossl.data.truth.masks import Places
from autossl.nn.sight import Maps
from autossl.proxies import PENALTIES, collapse, ridge
from autossl.targets.seen import Seen

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

FEWER = PENALTIES[::4]  # with thousands of cells neighbours on the full path differ little
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)  # of scores that are shares, as logits
TURNS = 3  # over the structures, each of whose offsets depends on the others


@dataclass(frozen=True)
class Cells:
    """What an encoder shows at places of some images, (k, d) of all maps side by side, and of whole images (n, dim)."""

    z: Floats
    widths: tuple[int, ...]  # of the maps, finest first
    channels: int
    pooled: Floats

    @property
    def broken(self) -> str:
        """Why these embeddings count as collapsed, or empty."""
        return collapse(self.pooled).reason


def gathered(seen: Seen, places: Places, look: Callable[[Maps, int, Ints], Floats] | None = None) -> Cells:
    """The cells of these places, from one pass over the images: between the centres of a map's cells it is linear.

    What else than `sampled` maps is to be seen of an image at places (k, dims) a `look` gives, (k, d).
    """
    z, pooled, widths, channels = None, None, tuple[int, ...](), 0
    order = np.argsort(places.sample, kind="stable")
    starts = np.searchsorted(places.sample[order], np.arange(len(seen) + 1))
    for at, maps in seen.maps():
        if pooled is None:
            widths, channels = tuple(each.shape[1] for each in maps.pyramid), maps.images.shape[1]
            pooled = np.zeros((len(seen), maps.pooled.shape[1]), np.float32)
        pooled[at] = maps.pooled.float().cpu().numpy()
        for place, sample in enumerate(at.tolist()):
            own = order[starts[sample] : starts[sample + 1]]
            if len(own):
                found = (look or sampled)(maps, place, places.at[own])
                z = np.zeros((len(places.sample), found.shape[1]), np.float32) if z is None else z
                z[own] = found
    assert z is not None, "no image to look at"
    assert pooled is not None
    return Cells(z, widths, channels, pooled)


def sampled(maps: Maps, image: int, at: NDArray[Any]) -> Floats:
    """All maps of one image at these places (k, dims), (k, d)."""
    space = maps.images.shape[2:]
    where = (torch.from_numpy(at).float() + 0.5) / torch.tensor(space) * 2 - 1
    grid = where.flip(1).view(1, *[1] * (len(space) - 1), len(at), len(space)).to(maps.images.device)
    found = [
        F.grid_sample(
            each[image : image + 1].float(), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        for each in maps.pyramid
    ]
    return np.asarray(torch.cat([each.flatten(2)[0] for each in found]).T.cpu().numpy())


@dataclass(frozen=True)
class Linear:
    """A linear readout of cells (d, kinds) with its intercepts (kinds,), and scores (k, kinds) without own patients."""

    weights: NDArray[np.float64]
    intercept: NDArray[np.float64]
    scores: NDArray[np.float64]


def linear(cells: Cells, places: Places, owner: Ints, kinds: int) -> Linear:
    """Ridge on cells of which each kind has as many, whole patients `owner` (k,) left out, with offsets for all pixels.

    Offsets are those with the best Dice of what is left out, each cell counting for as many pixels as it stands for.
    """
    mean, spread = cells.z.mean(0, dtype=np.float64), cells.z.std(0, dtype=np.float64) + 1e-6
    rows = ((cells.z - mean) / spread).astype(np.float32)
    fit = ridge(rows, places.structure, owner, classes=kinds, penalties=FEWER)
    offsets = _offsets(fit.scores, places)
    scores = fit.scores + offsets
    scale = min(SCALES, key=lambda scale: _loss(scale * scores, places))
    weights = scale * fit.weights / spread[:, None]
    intercept = scale * (fit.intercept + offsets) - mean @ weights
    return Linear(weights, intercept, scale * scores)


def _offsets(scores: NDArray[np.floating], places: Places) -> NDArray[np.float64]:
    """What is added to the score of each structure so that its Dice is best, structure by structure; (kinds,)."""
    kinds = scores.shape[1]
    offsets = np.zeros(kinds)
    for _ in range(1 if kinds == 2 else TURNS):
        for kind in range(1, kinds):
            others = np.delete(scores + offsets, kind, axis=1).max(1)
            offsets[kind] = -_threshold(scores[:, kind] - others, places.structure == kind, places.weight)
    return offsets


def _threshold(margin: NDArray[np.floating], there: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    """The margin above which a place is taken to be of a structure, so that weighted Dice is best."""
    if not there.any():
        return 0.0
    order = np.argsort(-margin, kind="stable")
    found, taken = np.cumsum((weight * there)[order]), np.cumsum(weight[order])
    dice = 2 * found / (taken + found[-1])
    best = int(dice.argmax())
    below = margin[order[min(best + 1, len(order) - 1)]]
    return float((margin[order[best]] + below) / 2)


def _loss(scores: NDArray[np.floating], places: Places) -> float:
    """Log-loss of places, each counting for its pixels."""
    top = scores.max(1)
    total = top + np.log(np.exp(scores - top[:, None]).sum(1))
    each = total - scores[np.arange(len(scores)), places.structure]
    return float((places.weight * each).sum() / places.weight.sum())
