"""Linear readouts of the pooled embedding, and the table by which every exported readout is read again."""

import copy
from collections.abc import Mapping
from typing import Any, Self, cast, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autossl.nn.sight import Sight
from autossl.targets.detector import Detector
from autossl.targets.readout import Readout
from autossl.targets.restorer import Restorer
from autossl.targets.segmenter import Segmenter

Floats = NDArray[np.float32]
NEVER = -1e4  # the logit of a class that was not there to be learnt
SCALE = 16.0  # of cosines as logits
SMOOTHED = 0.1  # share of a label that is spread over all classes in training (Szegedy et al. 2016)


@final
class Classifier(Readout):
    """A linear layer whose logits are trained by cross-entropy, weighted by class, to smoothed labels."""

    class_weights: Tensor
    spread: Tensor

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, classes)
        self.register_buffer("class_weights", torch.ones(classes), persistent=False)
        self.register_buffer("spread", torch.full((classes,), 1 / classes), persistent=False)

    @classmethod
    def of(cls, weights: Floats, intercept: Floats) -> Self:
        """The one with these weights (d, classes) and intercepts (classes,)."""
        with torch.random.fork_rng(devices=[]):  # nothing is drawn that stays
            made = cls(*weights.shape)
        with torch.no_grad():
            made.linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(weights.T)))
            made.linear.bias.copy_(torch.from_numpy(intercept))
        return made

    @property
    def arguments(self) -> dict[str, Any]:
        return {"dim": self.linear.in_features, "classes": self.linear.out_features}

    def balance(self, labels: NDArray[np.int64]) -> None:
        """Weigh classes in the loss by the inverse of how many of these labels (n,) each has; spread over those."""
        classes = self.linear.out_features
        counts = np.bincount(labels, minlength=classes)
        weights = torch.tensor(len(labels) / np.maximum(counts, 1) / classes, dtype=torch.float32)
        self.class_weights.copy_(weights)
        there = torch.tensor(counts > 0, dtype=torch.float32)
        self.spread.copy_(there / there.sum())

    def forward(self, seen: Tensor) -> Tensor:
        """Logits (b, classes)."""
        return cast(Tensor, self.linear(seen))

    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        if not self.training:
            return F.cross_entropy(raw, truth, weight=self.class_weights)
        # torch's own smoothing weighs the spread part by class too, which favours the rare ones for every image
        log_shares, weights = F.log_softmax(raw, dim=1), self.class_weights[truth]
        own = F.nll_loss(log_shares, truth, reduction="none")
        each = (1 - SMOOTHED) * own - SMOOTHED * log_shares @ self.spread
        return (weights * each).sum() / weights.sum()

    def learn(self, raw: Tensor, taught: Tensor) -> Tensor:
        return F.cross_entropy(raw, taught.softmax(1))


@final
class Regressor(Readout):
    """A linear layer for numbers, trained by Huber's loss (1964) on standardised ones; answers are in their units."""

    mean: Tensor
    spread: Tensor

    def __init__(self, dim: int, columns: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, columns)
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("spread", torch.ones(columns))

    @classmethod
    def of(cls, weights: NDArray[Any], intercept: NDArray[Any], values: NDArray[Any]) -> Self:
        """The one with these weights (d, t) and intercepts (t,) in the units of the values (n, t), NaN for unknown."""
        with torch.random.fork_rng(devices=[]):
            made = cls(*weights.shape)
        made.standardise(values)
        mean, spread = made.mean.numpy(), made.spread.numpy()
        with torch.no_grad():
            made.linear.weight.copy_(torch.from_numpy((weights / spread).T.astype(np.float32)))
            made.linear.bias.copy_(torch.from_numpy(((intercept - mean) / spread).astype(np.float32)))
        return made

    @property
    def arguments(self) -> dict[str, Any]:
        return {"dim": self.linear.in_features, "columns": self.linear.out_features}

    def standardise(self, values: NDArray[Any]) -> None:
        """Take mean and spread from these values (n, t), NaN for unknown."""
        self.mean.copy_(torch.from_numpy(np.nanmean(values, axis=0).astype(np.float32)))
        spread = np.nanstd(values, axis=0)
        self.spread.copy_(torch.from_numpy(np.where(spread > 0, spread, 1).astype(np.float32)))

    def forward(self, seen: Tensor) -> Tensor:
        """Values (b, t) in their units."""
        return cast(Tensor, self.linear(seen)) * self.spread + self.mean

    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        known = torch.isfinite(truth)
        wanted = torch.where(known, (truth - self.mean) / self.spread, torch.zeros_like(raw)).to(raw.dtype)
        each = F.huber_loss((raw - self.mean) / self.spread, wanted, reduction="none")
        return (each * known).sum() / known.sum().clamp(min=1)

    def learn(self, raw: Tensor, taught: Tensor) -> Tensor:
        return F.mse_loss((raw - self.mean) / self.spread, (taught - self.mean) / self.spread)


@final
class Labeller(Readout):
    """A linear layer with a logit for each of several labels, trained by cross-entropy balanced within each label."""

    there: Tensor

    def __init__(self, dim: int, labels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, labels)
        self.register_buffer("there", torch.full((labels,), 0.5), persistent=False)

    @classmethod
    def of(cls, weights: NDArray[Any], intercept: NDArray[Any]) -> Self:
        """The one with these weights (d, t) and intercepts (t,)."""
        with torch.random.fork_rng(devices=[]):
            made = cls(*weights.shape)
        with torch.no_grad():
            made.linear.weight.copy_(torch.from_numpy(weights.T.astype(np.float32)))
            made.linear.bias.copy_(torch.from_numpy(intercept.astype(np.float32)))
        return made

    @property
    def arguments(self) -> dict[str, Any]:
        return {"dim": self.linear.in_features, "labels": self.linear.out_features}

    def balance(self, marks: NDArray[Any]) -> None:
        """Weigh there and not there alike, by how often each of the marks (n, t) is 1 where it is known (0 or 1)."""
        known = marks >= 0
        there = ((marks == 1).sum(0) + 0.5) / (known.sum(0) + 1)
        self.there.copy_(torch.from_numpy(there.astype(np.float32)))

    def forward(self, seen: Tensor) -> Tensor:
        """Logits (b, t)."""
        return cast(Tensor, self.linear(seen))

    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        known, wanted = truth >= 0, (truth == 1).to(raw.dtype)
        weight = torch.where(truth == 1, 0.5 / self.there, 0.5 / (1 - self.there)) * known
        each = F.binary_cross_entropy_with_logits(raw, wanted, reduction="none")
        return (each * weight).sum() / known.sum().clamp(min=1)

    def learn(self, raw: Tensor, taught: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(raw, taught.sigmoid())


@final
class Retriever(Readout):
    """A linear layer to embeddings (b, width) of length 1, whose cosines say how alike images are.

    Trained by cross-entropy of scaled cosines with the learnt direction of each class (NormFace, Wang et al. 2017,
    arXiv 1704.06369). Raw answers (b, width + classes) are the embedding, then its cosines with these directions.
    """

    def __init__(self, dim: int, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, width)
        self.directions = nn.Parameter(F.normalize(torch.randn(classes, width), dim=1))

    @classmethod
    def of(cls, weights: NDArray[Any], intercept: NDArray[Any], directions: NDArray[Any]) -> Self:
        """The one with these weights (d, width), intercepts (width,) and directions of classes (classes, width)."""
        with torch.random.fork_rng(devices=[]):
            dim, width = weights.shape
            made = cls(dim, width, len(directions))
        with torch.no_grad():
            made.linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(weights.T, dtype=np.float32)))
            made.linear.bias.copy_(torch.from_numpy(intercept.astype(np.float32)))
            made.directions.copy_(torch.from_numpy(np.asarray(directions, dtype=np.float32)))
        return made

    @property
    def arguments(self) -> dict[str, Any]:
        width, dim = self.linear.weight.shape
        return {"dim": dim, "width": width, "classes": len(self.directions)}

    def forward(self, seen: Tensor) -> Tensor:
        """Embeddings and their cosines with the classes (b, width + classes)."""
        found = F.normalize(self.linear(seen).float(), dim=1)
        return torch.cat([found, found @ F.normalize(self.directions, dim=1).T], dim=1)

    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        return F.cross_entropy(SCALE * raw[:, -len(self.directions) :], truth)

    def begins_as(self, probe: Readout) -> None:
        """The probe's embedding, as wide as that is."""
        assert isinstance(probe, Retriever)
        own = copy.deepcopy(probe)
        self.linear, self.directions = own.linear, own.directions


READOUTS: dict[str, type[Readout]] = {
    row.__name__: row for row in (Classifier, Regressor, Labeller, Retriever, Segmenter, Detector, Restorer)
}


def made_again(made: Mapping[str, Any], state: Mapping[str, Tensor]) -> Readout:
    """The readout of which `made` and weights are these; LookupError, TypeError or RuntimeError for others.

    One of before sights existed looks at the pooled embedding.
    """
    with torch.random.fork_rng(devices=[]):
        readout = READOUTS[made["readout"]](**made["arguments"])
    readout.sight, readout.words = Sight(**made.get("sight", {})), str(made.get("words", ""))
    readout.load_state_dict(dict(state))
    return readout.eval()
