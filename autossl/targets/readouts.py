"""What turns an encoder's features into an answer: named in a table, so that an exported one can be read again."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float32]
NEVER = -1e4  # the logit of a class that was not there to be learnt


class Readout(nn.Module, ABC):
    """From features to an answer in the units of the labels. A subclass is final, its arguments are JSON.

    What its loss needs to know of labels (class weights, mean and spread) it is given for the rows that it is fitted
    on, in buffers.
    """

    reads: ClassVar[str] = "pooled"  # or "maps"

    @property
    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What makes a readout of the same shape again."""

    @abstractmethod
    def forward(self, seen: Tensor) -> Tensor:
        """Raw answers (b, ...) from pooled embeddings (b, d)."""

    @abstractmethod
    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        """The loss of raw answers (b, ...) against a batch of truth, a scalar."""

    @torch.inference_mode()
    def answers(self, z: Floats) -> Floats:
        """Raw answers (n, ...) from pooled embeddings (n, d) in memory."""
        device = next(self.parameters()).device
        return np.asarray(self(torch.from_numpy(np.ascontiguousarray(z)).to(device)).cpu().numpy())


@final
class Classifier(Readout):
    """A linear layer whose logits are trained by cross-entropy, weighted by class."""

    class_weights: Tensor

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, classes)
        self.register_buffer("class_weights", torch.ones(classes), persistent=False)

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
        """Weigh classes in the loss by the inverse of how many of these labels (n,) each has."""
        classes = self.linear.out_features
        counts = np.bincount(labels, minlength=classes)
        weights = torch.tensor(len(labels) / np.maximum(counts, 1) / classes, dtype=torch.float32)
        self.class_weights.copy_(weights)

    def forward(self, seen: Tensor) -> Tensor:
        """Logits (b, classes)."""
        return cast(Tensor, self.linear(seen))

    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        return F.cross_entropy(raw, truth, weight=self.class_weights)


READOUTS: dict[str, type[Readout]] = {"Classifier": Classifier}


def made_again(name: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor]) -> Readout:
    """The readout of this name with these arguments and weights; LookupError, TypeError or RuntimeError for others."""
    with torch.random.fork_rng(devices=[]):
        readout = READOUTS[name](**arguments)
    readout.load_state_dict(dict(state))
    return readout.eval()
