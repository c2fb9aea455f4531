"""Features of an encoder at single places of images: what linear readouts of maps are fitted on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from autossl.data.truth.places import Places
from autossl.nn.sight import Maps
from autossl.proxies import PENALTIES, collapse, knn_values, ridge, standardise
from autossl.targets.seen import Seen

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

CELLS, LESS = 4000, 2000  # places at which an aligned score looks; less where maps are as wide as WIDE
WIDE = 1500
NEIGHBOURS = 2000  # cells of the k-NN that is shown beside it
FEWER = PENALTIES[::4]  # with thousands of cells neighbours on the full path differ little
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)  # of scores that are shares, as logits
TURNS = 3  # over the structures, each of whose offsets depends on the others


class Placed(Protocol):
    """Places in some images: in which (k,), and where (k, dims) in shares of their sides."""

    @property
    def sample(self) -> Ints: ...

    @property
    def where(self) -> NDArray[np.float64]: ...


P = TypeVar("P", bound=Placed)


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


def looked(seen: Seen, drawn: Callable[[int], P], most: int = CELLS) -> tuple[P, Cells]:
    """About so many places as `drawn` has them, and what an encoder shows there; fewer for a score of wide maps."""
    places = drawn(most)
    cells = gathered(seen, places)
    if cells.z.shape[1] > WIDE and most == CELLS:
        places = drawn(LESS)
        cells = gathered(seen, places)
    return places, cells


def gathered(seen: Seen, places: Placed, look: Callable[[Maps, int, Any], Floats] | None = None) -> Cells:
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
                found = (look or sampled)(maps, place, places.where[own])
                z = np.zeros((len(places.sample), found.shape[1]), np.float32) if z is None else z
                z[own] = found
    assert z is not None, "no image to look at"
    assert pooled is not None
    return Cells(z, widths, channels, pooled)


def sampled(maps: Maps, image: int, where: NDArray[np.float64]) -> Floats:
    """All maps of one image at these places (k, dims), (k, d)."""
    k, dims = where.shape
    grid = torch.from_numpy(where * 2 - 1).float().flip(1).view(1, *[1] * (dims - 1), k, dims).to(maps.images.device)
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


def scaled(cells: Cells) -> tuple[Floats, NDArray[np.float64], NDArray[np.float64]]:
    """Cells of mean 0 and spread 1, and mean and spread (d,) that they had."""
    mean, spread = cells.z.mean(0, dtype=np.float64), cells.z.std(0, dtype=np.float64) + 1e-6
    return ((cells.z - mean) / spread).astype(np.float32), mean, spread


def shares(cells: Cells, kind: Ints, owner: Ints, kinds: int) -> Linear:
    """Ridge on the kind (k,) of cells, each of which counts as much in all, whole patients `owner` (k,) left out."""
    rows, mean, spread = scaled(cells)
    fit = ridge(rows, kind, owner, classes=kinds, penalties=FEWER)
    weights = fit.weights / spread[:, None]
    return Linear(weights, fit.intercept - mean @ weights, fit.scores.astype(np.float64))


def votes(cells: Cells, kind: Ints, owner: Ints, kinds: int) -> tuple[Ints, NDArray[np.floating]]:
    """Shares of kinds among the most similar cells of other patients, for some of the cells, and their places."""
    some = np.sort(np.random.default_rng(0).permutation(len(cells.z))[:NEIGHBOURS])
    rows, truth = standardise(cells.z[some]), np.eye(kinds)[kind[some]]
    return some, knn_values(rows, truth, ks=(30,), temperatures=(0.02,), groups=owner[some])[0, 0]


def linear(cells: Cells, places: Places, owner: Ints, kinds: int) -> Linear:
    """The same with offsets for all pixels, and shares as logits.

    Offsets are those with the best Dice of what is left out, each cell counting for as many pixels as it stands for.
    """
    fit = shares(cells, places.structure, owner, kinds)
    offsets = _offsets(fit.scores, places)
    scores = fit.scores + offsets
    scale = min(SCALES, key=lambda scale: _loss(scale * scores, places))
    return Linear(scale * fit.weights, scale * (fit.intercept + offsets), scale * scores)


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
