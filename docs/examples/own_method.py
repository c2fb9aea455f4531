"""A pretext method of your own: tell which of two halves of an image was flipped.

    python own_method.py IMAGES [TIME_LIMIT]

Its keyword arguments are its hyperparameters; a table of the search space says how they may vary. The search runs in
this process (`workers=1`), so that it knows the method. To keep it, make it one file and one row: CONTRIBUTING.md.
"""

import sys
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

import autossl
from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS, Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views

SPACE = """
[flipped_half]
prior = [{ hidden = 64, lr = 2e-3 }]
hidden = [64, 256]
lr = { low = 3e-4, high = 1e-2, log = true }
batch_size = 128
"""


class FlippedHalf(Pretext):
    """The left or the right half is turned upside down; which one was it?"""

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2})
    passes: ClassVar[float] = 1.0
    paper: ClassVar[str] = "none; an example"

    def __init__(self, encoder: Encoder, views: Views, *, hidden: int = 64) -> None:
        super().__init__(encoder, views)
        self.head = nn.Sequential(nn.Linear(encoder.dim, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of which half it was; `answered` keeps the share of right answers, so shortcuts are seen."""
        seen = self.views(batch.images, self.generator)
        right = torch.randint(2, (len(seen),), generator=self.generator, device=seen.device)
        left, other = seen.chunk(2, dim=-1)
        turned = torch.cat([left.flip(-2), other], -1), torch.cat([left, other.flip(-2)], -1)
        shown = torch.where(right.view(-1, 1, 1, 1) == 0, *turned)
        return self.answered(self.head(self.encoder(shown)), right)


def main(images: str, time_limit: str = "10m", space: str = "flipped_half.toml") -> autossl.Study:
    """Search with this method alone; `space` is where its table is written, which the study reads again later."""
    METHODS["flipped_half"] = FlippedHalf
    Path(space).write_text(SPACE)
    return autossl.search(images, methods="flipped_half", space=space, time_limit=time_limit, workers=1)


if __name__ == "__main__":
    main(*sys.argv[1:3])
