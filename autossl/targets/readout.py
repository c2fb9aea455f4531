"""The contract of a readout: what turns an encoder's features into an answer, and is exported with it."""

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.sight import PLAIN, Sight, width
from autossl.views.images import Views

Floats = NDArray[np.float32]


class Readout(nn.Module, ABC):
    """From features to an answer in the units of the labels. A subclass is final, its arguments are JSON.

    What its loss needs to know of labels (class weights, mean and spread) it is given for the rows that it is fitted
    on, in buffers. It has no batch norms: weights are averaged after training, and only an encoder's norms are settled.
    """

    sees: ClassVar[Sight] = PLAIN  # what of an encoder it is given in training
    sight: Sight = PLAIN  # and afterwards
    use: ClassVar[str] = ""  # how people call it, for a card, where that is not as others are called
    words: str = ""  # what it is, of a probe: "a ridge probe"

    @property
    def made(self) -> dict[str, Any]:
        """What `made_again` takes beside the weights; JSON."""
        own = {"readout": type(self).__name__, "arguments": self.arguments}
        return {**own, "sight": asdict(self.sight), "words": self.words}

    def told(self, dims: int) -> str:
        """What it is and what it looks at, as a sentence has it, of an encoder for images (2) or volumes (3)."""
        return f"{self.words or 'a trained head'}{self.sight.words(dims)}"

    @property
    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What makes a readout of the same shape again."""

    def fits(self, encoder: Encoder) -> bool:
        """Whether it can take what its sight gives of this encoder."""
        return bool(self.arguments["dim"] == width(encoder, self.sight))

    @abstractmethod
    def forward(self, seen: Any) -> Tensor:
        """Raw answers (b, ...) from what its sight gives of b images."""

    @abstractmethod
    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        """The loss of raw answers (b, ...) against a batch of truth, a scalar."""

    def learn(self, raw: Tensor, taught: Tensor) -> Tensor:
        """The loss of raw answers (b, ...) against those of a teacher, a scalar."""
        return F.mse_loss(raw, taught)

    def views(self, views: Views) -> Views:
        """Those of the views in which what is true can be followed."""
        return views

    def moved(self, truth: Tensor, views: Views, u: Tensor) -> Tensor:
        """A batch of truth as it is of the views that the rows of `u` describe."""
        return truth

    def kept(self, raw: Tensor) -> NDArray[Any]:
        """Raw answers (b, ...) as they are kept of many images."""
        return np.asarray(raw.float().cpu().numpy())

    def begins_as(self, probe: "Readout") -> None:
        """Take the weights of a probe, as far as it has them."""
        self.load_state_dict(probe.state_dict())

    @torch.inference_mode()
    def answers(self, z: Floats) -> NDArray[Any]:
        """Raw answers (n, ...) from what its sight gave (n, d), in memory."""
        device = next(self.parameters()).device
        return self.kept(cast(Tensor, self(torch.from_numpy(np.ascontiguousarray(z)).to(device))))
