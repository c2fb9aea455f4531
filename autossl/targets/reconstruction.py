"""What an image should have been: by ridge on cells of all maps in the search, by a decoder at the end."""

from collections.abc import Sequence
from itertools import product
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from autossl.data.truth import SHARE, Pairs, Truth
from autossl.nn.encoder import Encoder
from autossl.nn.sight import MAPS, PLAIN, Maps, Sight
from autossl.proxies import Outcomes, collapse, participation_ratio, rankme, ridge, ssim, standard_error
from autossl.targets.base import Judged, Probed, Score
from autossl.targets.cells import FEWER, gathered, sampled
from autossl.targets.readout import Readout
from autossl.targets.restorer import AROUND, Restorer
from autossl.targets.seen import Seen

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

LOOKED_AT, PROBED = 250, 600  # windows at which the aligned score looks, and on which the probe is fitted
BLOCK = {2: 8, 3: 4}  # pixels of a block a side at most, which is drawn whole so that cells of any size are of one
LOOKED = {2: 16, 3: 8}  # side of as many pixels of a window as its blocks have together
MOST_BLOCKS = 64  # of a window
DRAWS = 200


class Corners(NamedTuple):
    """Cells of some windows: in which (k,), where in units of cells (k, dims), and their middles in shares of sides."""

    sample: Ints
    at: Ints
    where: NDArray[np.float64]


class Blocks(NamedTuple):
    """Cells drawn of some windows, `side` pixels each, and what they are of."""

    windows: Ints  # (w,) which samples
    places: Corners
    side: int


class Fitted(NamedTuple):
    """A linear readout of cells, and what is missing in each of them (k, t): in truth, and told without its patient."""

    weights: NDArray[np.float64]
    intercept: NDArray[np.float64]
    missing: Floats
    told: NDArray[np.floating]
    widths: tuple[int, ...]
    finite: bool = True  # else the encoder broke down, and images stay as they are


@final
class Reconstruction(Judged):
    """The target image of each image; dB gained are those over the image as it is, a mean over images."""

    task: ClassVar = "reconstruction"
    form: ClassVar = Pairs
    metrics: ClassVar = ("psnr_gain", "psnr")
    told: ClassVar = ("ssim", "nmse")
    shown: ClassVar = {"rankme": "rankme", "participation": "participation"}
    headings: ClassVar = {"rankme": "RankMe"}
    hub: ClassVar = "image-to-image"
    figure: ClassVar = "pairs"
    scored: ClassVar = "dB gained on cells"
    trained: ClassVar = 2.5
    mixes: ClassVar = False
    blends: ClassVar = True
    decodes: ClassVar = True
    least_passes: ClassVar = 10  # an image has thousands of labels
    curved: ClassVar = False
    exact: ClassVar = True
    bare: ClassVar = "input"

    def line(self, score: Score) -> str:
        return f"{score.value:.2f} ± {score.se:.2f}"

    def score(self, seen: Seen, truth: Truth, groups: Ints | None) -> Score:
        """Ridge from maps and image to what the pixels of a cell lack, whole patients left out.

        Blocks of pixels are drawn by lot, the same for all candidates.
        """
        pairs, broken = _pairs(truth), collapse(seen.pooled).reason
        blocks = _drawn(pairs, _side(seen, pairs), LOOKED_AT)
        fit = _fitted(seen, pairs, blocks, groups)
        outcomes = _of_cells(pairs, blocks, fit)
        if not fit.finite:
            return Score(0.0, 0.0, {}, broken or "it is not finite", outcomes)
        drawn = outcomes.drawn((self.metric,), groups, draws=DRAWS)[self.metric]
        shown = {"rankme": rankme(seen.pooled), "participation": participation_ratio(seen.pooled)}
        return Score(outcomes.value(self.metric), standard_error(drawn), shown, broken, outcomes)

    def probe(self, seen: Seen, truth: Truth, groups: Ints | None, sights: Sequence[Sight] = (PLAIN,)) -> Readout:
        """The same ridge on more windows, as convolutions."""
        pairs = _pairs(truth)
        blocks = _drawn(pairs, _side(seen, pairs), PROBED)
        fit = _fitted(seen, pairs, blocks, groups)
        *maps, own = np.split(fit.weights, np.cumsum(fit.widths))
        space = pairs.space
        made = Restorer.of(maps, own, fit.intercept, space[-1], len(space) - 1)
        made.words = "ridge on cells"
        return made.standardised(pairs.mean, pairs.sd).eval()

    def fitted(self, z: Floats, truth: Truth, groups: Ints | None) -> Probed:
        raise AssertionError("a readout of maps is no readout of embeddings")

    def sights(self, turned: bool) -> tuple[Sight, ...]:
        """All maps."""
        return (MAPS,)

    def transfer(self, seen: Seen, truth: Truth, groups: Ints | None, new: Seen) -> NDArray[Any]:
        """Restored images (m, c, *space) by the probe."""
        return new.answers(self.probe(seen, truth, groups))

    def readout(self, encoder: Encoder, truth: Truth) -> Restorer:
        """A decoder that begins with the image as it is."""
        pairs, finest = _pairs(truth), encoder.image_size / encoder.finest
        cell = cell_side(encoder.image_size, encoder.dims, finest)
        made = Restorer(encoder.pyramid_channels, encoder.channels, cell, encoder.dims)
        return made.standardised(pairs.mean, pairs.sd)

    def constant(self, encoder: Encoder, truth: Truth) -> Restorer:
        """The image as it is."""
        pairs = _pairs(truth)
        made = Restorer(encoder.pyramid_channels, encoder.channels, 1, encoder.dims, linear=False, decoder=False)
        return made.standardised(pairs.mean, pairs.sd).eval()

    def judge(self, raw: NDArray[Any], truth: Truth, groups: Ints | None = None) -> Outcomes:
        """Errors of each image over its windows, before and after, and how alike it is to its target."""
        pairs, n = _pairs(truth), len(truth)
        after, alike, energy = np.zeros(n), np.zeros(n), np.zeros(n)
        for row, answer in enumerate(raw):
            target = np.moveaxis(pairs[row : row + 1].array[0], -1, 0) / SHARE
            restored = np.asarray(answer) / SHARE
            after[row], energy[row] = np.mean((restored - target) ** 2), np.mean(target**2)
            alike[row] = ssim(target, restored)
        return _by_image(pairs.image, np.stack([pairs.error, energy, after, alike], axis=1), np.arange(n), n)

    def answer(self, raw: NDArray[Any]) -> dict[str, list[Any]]:
        """How bright each restored image is, 1 being white."""
        return {"mean": [round(float(answer.mean() / SHARE), 5) for answer in raw]}

    def pictured(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Restored images (n, *space, c)."""
        return np.moveaxis(raw, 1, -1)

    def probe_seconds(self, labels: int, dim: int) -> float:
        """Ridge on cells; the pass over the images is counted elsewhere."""
        return 0.2 + 4.0 * 16 * min(labels, PROBED) * (2.0 * dim) ** 2 / 20e9


def cell_side(size: int, dims: int, stride: float) -> int:
    """Pixels of a cell a side: the largest power of two that divides the image and is no more than a map's stride."""
    side = _block(size, dims)
    while side > 1 and side > stride + 0.5:
        side //= 2
    return side


def _block(size: int, dims: int) -> int:
    side = BLOCK[dims]
    while size % side:
        side //= 2
    return side


def _side(seen: Seen, pairs: Pairs) -> int:
    """The side of cells for the maps of this encoder."""
    _, maps = next(seen[np.arange(1)].maps())
    size, dims = pairs.space[0], len(pairs.space) - 1
    return cell_side(size, dims, size / maps.pyramid[0].shape[2])


def _drawn(pairs: Pairs, side: int, most: int) -> Blocks:
    """Cells of some blocks of at most so many windows."""
    random, size, dims = np.random.default_rng(0), pairs.space[0], len(pairs.space) - 1
    windows = np.sort(random.permutation(len(pairs))[:most])
    block = _block(size, dims)
    grid = [size // block] * dims
    count = min(MOST_BLOCKS, (LOOKED[dims] // block) ** dims, int(np.prod(grid)))
    flat = np.stack([random.permutation(int(np.prod(grid)))[:count] for _ in windows])
    corners = np.stack(np.unravel_index(flat, grid), axis=-1) * (block // side)  # (w, count, dims)
    inside = np.array(list(product(range(block // side), repeat=dims)))
    at = (corners[:, :, None] + inside).reshape(-1, dims)
    sample = np.repeat(np.arange(len(windows)), count * len(inside))
    return Blocks(windows, Corners(sample, at, (at + 0.5) * side / size), side)


def _fitted(seen: Seen, pairs: Pairs, blocks: Blocks, groups: Ints | None) -> Fitted:
    """Ridge on these cells, each patient's told without its own."""
    places, side = blocks.places, blocks.side
    cells = gathered(seen[blocks.windows], places, lambda maps, image, where: _looked(maps, image, where, side))
    own = cells.z[:, sum(cells.widths) :]
    missing = (_targets(pairs, blocks) - _middle(own, side, pairs.space)).astype(np.float32)
    if not np.isfinite(cells.z).all():
        nothing = np.zeros((cells.z.shape[1], missing.shape[1]))
        return Fitted(nothing, nothing[0], missing, np.zeros_like(missing), cells.widths, finite=False)
    owner = (np.arange(len(pairs)) if groups is None else groups)[blocks.windows][places.sample]
    mean, spread = cells.z.mean(0, dtype=np.float64), cells.z.std(0, dtype=np.float64) + 1e-6
    fit = ridge(((cells.z - mean) / spread).astype(np.float32), missing, owner, penalties=FEWER)
    weights = fit.weights / spread[:, None]
    return Fitted(weights, fit.intercept - mean @ weights, missing, fit.scores, cells.widths)


def _looked(maps: Maps, image: int, where: NDArray[np.float64], side: int) -> Floats:
    """All maps of one image in the middles `where` (k, dims) of cells, and the image in and around them."""
    dims = where.shape[1]
    at = (where * maps.images.shape[2] / side).astype(np.int64)
    one = maps.images[image : image + 1].float()
    x = F.pad(one, [AROUND] * 2 * dims, mode="replicate")[0]
    for axis in range(1, dims + 1):
        x = x.unfold(axis, side + 2 * AROUND, side)
    around = x.movedim(0, dims)[tuple(torch.from_numpy(at).T)].flatten(1)
    return np.hstack([sampled(maps, image, where), around.cpu().numpy()])


def _middle(around: Floats, side: int, space: tuple[int, ...]) -> Floats:
    """The pixels of cells (k, c * side ** dims) of what is in and around them."""
    dims, channels = len(space) - 1, space[-1]
    whole = around.reshape(len(around), channels, *[side + 2 * AROUND] * dims)
    inner = slice(AROUND, AROUND + side)
    return whole[(slice(None), slice(None), *[inner] * dims)].reshape(len(around), -1)


def _targets(pairs: Pairs, blocks: Blocks) -> NDArray[np.float64]:
    """The pixels of cells in the targets, standardised as images are, (k, c * side ** dims)."""
    side, dims, found = blocks.side, len(pairs.space) - 1, []
    for place, window in enumerate(blocks.windows.tolist()):
        target = (pairs[window : window + 1].array[0] / SHARE - np.array(pairs.mean)) / np.array(pairs.sd)
        own = blocks.places.at[blocks.places.sample == place]
        x = np.moveaxis(target, -1, 0)
        for axis in range(1, dims + 1):
            x = np.moveaxis(x.reshape(*x.shape[:axis], -1, side, *x.shape[axis + 1 :]), axis + 1, -1)
        found.append(np.moveaxis(x, 0, dims)[tuple(own.T)].reshape(len(own), -1))
    return np.concatenate(found)


def _of_cells(pairs: Pairs, blocks: Blocks, fit: Fitted) -> Outcomes:
    """What is told of cells, by image."""
    sample, n = blocks.windows[blocks.places.sample], len(pairs)
    white = np.repeat(np.array(pairs.sd), blocks.side ** (len(pairs.space) - 1))
    targets = _targets(pairs, blocks)
    bright = (targets * white + np.repeat(np.array(pairs.mean), len(white) // len(pairs.mean))) ** 2
    each = [((values * white) ** 2).mean(1) for values in (fit.missing, fit.missing - fit.told)]
    table = np.stack([each[0], bright.mean(1), each[1], np.full(len(sample), np.nan)], axis=1)
    return _by_image(pairs.image[sample], table, sample, n)


def _by_image(image: Ints, table: NDArray[np.float64], sample: Ints, n: int) -> Outcomes:
    """Means over rows of one image (k,): error before and mean square of the target; error after and likeness."""
    _, first, inverse = np.unique(image, return_index=True, return_inverse=True)
    sizes = np.bincount(inverse)
    means = np.stack([np.bincount(inverse, weights=column) / sizes for column in table.T], axis=1)
    return Outcomes({"y": means[:, :2], "scores": means[:, 2:]}, sample[first], n)


def _pairs(truth: Truth) -> Pairs:
    assert isinstance(truth, Pairs)
    assert truth.known.all(), "targets that are not known, or were withheld"
    return truth
