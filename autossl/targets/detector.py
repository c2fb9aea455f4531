"""The readout that finds objects: scores and boxes at every cell of a grid, linear on all maps, a decoder on top."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import batched_nms, generalized_box_iou_loss

from autossl.nn.encoder import Encoder
from autossl.nn.sight import MAPS, Maps, Sight
from autossl.targets.decoding import WIDTH, block, enlarged, give
from autossl.targets.readout import Readout
from autossl.views.images import Views
from autossl.views.points import followed

STRIDE = 4  # pixels of a cell of the grid at most, where no map is finer
UNIT = 1 / 8  # of the image's side: what a distance to a border of which the logarithm is 0 comes to
REACH = 4.0  # logarithms of distances at most, either way
MOST = 100  # detections of an image, as COCO counts
CANDIDATES = 300  # peaks of which these are chosen
OVERLAP = 0.5  # of two detections of a class above which the lower one is dropped
LEAST = 0.005  # score of a detection
PRIOR = -4.0  # logit of a score before anything is learnt
SPREAD = 0.54 / 6  # of the Gaussian of an object, in units of its sides (TTFNet)
NARROW = 0.35  # least such spread, in cells
COUNTS = 0.3  # least value of it at which a cell answers for the box
BOXES = 2.0  # weight of the loss of boxes


@final
class Detector(Readout):
    """Logits of classes and logarithms of the distances to the four borders, (b, classes + 4, rows, columns).

    One level without anchors: each object is a Gaussian on a grid of a quarter of the image's side, learnt by focal
    loss (CenterNet, Zhou et al. 2019, arXiv 1904.07850), and the cells about its centre answer for its box, learnt by
    generalised IoU (TTFNet, Liu et al. 2020, arXiv 1909.00700). The linear part is one 1 x 1 convolution of each map,
    what a probe fits in closed form; a decoder adds to it. Fine-tuning begins with a new one, not with the probe's
    weights: from there boxes learn worse (docs/decisions.md). Answers that are kept are detections (b, MOST, 6) by
    falling score: x0, y0, x1, y1 in shares of the image's side, the score, and the class, -1 for none.
    """

    sees: ClassVar[Sight] = MAPS
    sight: Sight = MAPS
    use: ClassVar[str] = "`model.predict(DATA)` gives boxes in pixels of the images"

    def __init__(self, maps: Sequence[int], classes: int, decoder: bool = True) -> None:
        super().__init__()
        self.maps, self.classes, self.decoder = list(maps), classes, decoder
        self.linear = nn.ModuleList([nn.Conv2d(c, classes + 4, 1, bias=False) for c in maps])
        self.bias = nn.Parameter(torch.tensor([PRIOR] * classes + [0.0] * 4))
        for layer in self.linear:
            nn.init.normal_(cast(nn.Conv2d, layer).weight, std=0.01)
        if decoder:
            self.enter = nn.Conv2d(maps[-1], WIDTH, 1)
            self.lateral = nn.ModuleList([nn.Conv2d(c, WIDTH, 1) for c in reversed(maps[:-1])])
            self.blocks = nn.ModuleList([block(WIDTH, WIDTH, 2) for _ in maps])
            self.leave = nn.Conv2d(WIDTH, classes + 4, 1)
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(cast(Tensor, self.leave.bias))

    @classmethod
    def of(cls, weights: Sequence[NDArray[Any]], intercept: NDArray[Any]) -> Self:
        """The linear one with these weights (c, classes + 4) of each map and intercepts (classes + 4,)."""
        with torch.random.fork_rng(devices=[]):
            made = cls([len(each) for each in weights], len(intercept) - 4, decoder=False)
        give(made.linear, weights, made.bias, intercept)
        return made

    @property
    def arguments(self) -> dict[str, Any]:
        return {"maps": self.maps, "classes": self.classes, "decoder": self.decoder}

    def fits(self, encoder: Encoder) -> bool:
        return encoder.dims == 2 and tuple(self.maps) == encoder.pyramid_channels

    def forward(self, seen: Maps) -> Tensor:
        """Logits and distances (b, classes + 4, rows, columns)."""
        sides = zip(seen.images.shape[2:], seen.pyramid[0].shape[2:], strict=True)
        space = tuple(max(side // STRIDE, fine) for side, fine in sides)
        found = self.bias.view(1, -1, 1, 1)
        for layer, each in zip(self.linear, seen.pyramid, strict=True):
            found = found + enlarged(layer(each), space)
        return found + self._decoded(seen, space) if self.decoder else found

    def _decoded(self, seen: Maps, space: tuple[int, ...]) -> Tensor:
        x = self.enter(seen.pyramid[-1])
        for finer, lateral, each in zip(reversed(seen.pyramid[:-1]), self.lateral, self.blocks, strict=False):
            x = each(enlarged(x, tuple(finer.shape[2:])) + lateral(finer))
        return cast(Tensor, self.leave(self.blocks[-1](enlarged(x, space))))

    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        """Focal loss of scores and generalised IoU of boxes; truth (b, k, 5) are boxes and classes, NaN for none."""
        raw = raw.float()
        some = torch.isfinite(truth[..., 0]).any(0)
        truth = truth[:, some] if some.any() else truth[:, :1]  # most images have few of the most objects of any
        there = torch.isfinite(truth[..., 0])
        bumps = torch.where(there[..., None, None], _bumps(truth.nan_to_num(), raw.shape[2:]), 0.0)
        kinds = truth[..., 4].nan_to_num(-1)
        logits = raw[:, : self.classes]
        wanted = torch.stack(
            [torch.where((kinds == kind)[..., None, None], bumps, 0.0).amax(1) for kind in range(self.classes)], dim=1
        )
        objects = there.sum().clamp(min=1)
        return _focal(logits, wanted) / objects + BOXES * self._box_loss(raw, truth, bumps)

    def _box_loss(self, raw: Tensor, truth: Tensor, bumps: Tensor) -> Tensor:
        weight, own = bumps.max(1)  # (b, rows, columns): the object that a cell answers for
        weight = torch.where(weight >= COUNTS, weight, 0.0)
        at = weight > 0
        if not at.any():
            return raw.sum() * 0
        boxes = torch.gather(truth[..., :4], 1, own.flatten(1)[..., None].expand(-1, -1, 4)).view(*own.shape, 4)
        each = generalized_box_iou_loss(_boxes(raw[:, self.classes :]).movedim(1, -1)[at], boxes[at].float())
        return cast(Tensor, (each * weight[at]).sum() / weight[at].sum())

    def views(self, views: Views) -> Views:
        return views.upright()

    def moved(self, truth: Tensor, views: Views, u: Tensor) -> Tensor:
        boxes = followed(truth[..., :4], views, u)
        return torch.cat([boxes, torch.where(boxes[..., :1].isnan(), torch.nan, truth[..., 4:])], dim=-1)

    def kept(self, raw: Tensor) -> NDArray[np.float32]:
        """Detections (b, MOST, 6): peaks of each class's map, of those that overlap the highest."""
        raw = raw.detach().float()
        scores, boxes = raw[:, : self.classes].sigmoid(), _boxes(raw[:, self.classes :]).flatten(2)
        peaks = torch.where(F.max_pool2d(scores, 3, stride=1, padding=1) == scores, scores, 0.0).flatten(1)
        top, at = peaks.topk(min(CANDIDATES, peaks.shape[1]))
        cells = boxes.shape[2]
        found = np.zeros((len(raw), MOST, 6), np.float32)
        found[..., 5] = -1
        for row in range(len(raw)):
            own = boxes[row, :, at[row] % cells].T.clamp(0, 1)
            kinds = at[row] // cells
            some = (top[row] >= LEAST) & (own[:, 2] > own[:, 0]) & (own[:, 3] > own[:, 1])
            own, kinds, high = own[some], kinds[some], top[row][some]
            left = batched_nms(own, high, kinds, OVERLAP)[:MOST]
            table = torch.cat([own[left], high[left, None], kinds[left, None].float()], dim=1)
            found[row, : len(left)] = table.cpu().numpy()
        return found

    def begins_as(self, probe: Readout) -> None:
        """As it is: the probe's weights are left behind."""


def _centres(space: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
    """y (rows, 1) and x (1, columns) of cells in shares of the image's side."""
    high, wide = ((torch.arange(side, device=like.device, dtype=torch.float32) + 0.5) / side for side in space)
    return high[:, None], wide[None]


def _boxes(distances: Tensor) -> Tensor:
    """x0, y0, x1, y1 (b, 4, rows, columns) in shares, from logarithms of distances to the borders."""
    left, top, right, bottom = (UNIT * distances.clamp(-REACH, REACH).exp()).unbind(1)
    y, x = _centres(distances.shape[2:], distances)
    return torch.stack([x - left, y - top, x + right, y + bottom], dim=1)


def _bumps(truth: Tensor, space: Sequence[int]) -> Tensor:
    """A Gaussian for each object (b, k, rows, columns), 1 at the cell of its centre."""
    y, x = _centres(space, truth)
    rows, columns = space
    x0, y0, x1, y1 = (side[..., None, None].float() for side in truth[..., :4].unbind(-1))
    across = (SPREAD * (x1 - x0)).clamp(min=NARROW / columns)
    down = (SPREAD * (y1 - y0)).clamp(min=NARROW / rows)
    middle_x = (((x0 + x1) / 2 * columns).floor().clamp(0, columns - 1) + 0.5) / columns
    middle_y = (((y0 + y1) / 2 * rows).floor().clamp(0, rows - 1) + 0.5) / rows
    return torch.exp(-0.5 * (((x - middle_x) / across) ** 2 + ((y - middle_y) / down) ** 2))


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """CornerNet's focal loss (Law and Deng 2018, arXiv 1808.01244) of scores against Gaussians, a sum."""
    shares = logits.sigmoid()
    centre = wanted > 1 - 1e-4
    hits = (1 - shares) ** 2 * F.logsigmoid(logits)
    misses = (1 - wanted) ** 4 * shares**2 * F.logsigmoid(-logits)
    return -torch.where(centre, hits, misses).sum()
