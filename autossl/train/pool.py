"""The images of one part as batches of floats on the device, in an order that a step number alone decides."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autossl.pretext.batch import Batch

VALUES = 224 * 224  # pixels or voxels of an image as large as a whole batch of them is meant for
RESIDENT_BYTES = 4 << 30  # up to here the images are kept on an accelerator


class Pool:
    """Images (n, h, w, c) or volumes (n, d, h, w, c) as 8 or 16 bit integers, handed out as floats in [0, 1].

    Batches are (b, c, h, w) or (b, c, d, h, w), in memory channels last.

    `rows` picks images; `truth` (len(rows), ...) is what is known of these, `columns` (n, ...) say more of all images,
    under the names that `Batch` has for it. On an accelerator the images are kept resident where they fit.
    """

    def __init__(
        self,
        images: NDArray[np.unsignedinteger],
        rows: NDArray[np.int64],
        scale: float,
        device: torch.device,
        truth: NDArray[Any] | None = None,
        **columns: NDArray[Any],
    ) -> None:
        assert len(rows) > 0, "a pool without images"
        self.images, self.rows, self.scale, self.device = images, rows, scale, device
        self.patients = columns["groups"][rows] if "groups" in columns else None
        self.columns = {name: torch.from_numpy(column[rows]).to(device) for name, column in columns.items()}
        if truth is not None:
            self.columns["truth"] = torch.from_numpy(np.ascontiguousarray(truth)).to(device)
        self.resident: Tensor | None = None
        if device.type != "cpu" and len(rows) * images[0].nbytes <= RESIDENT_BYTES:
            self.resident = _tensor(np.take(images, rows, axis=0)).to(device)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, at: NDArray[np.int64]) -> Batch:
        """What is at these places of the pool."""
        place = torch.from_numpy(at).to(self.device)
        columns = {"places": place} | {name: column[place] for name, column in self.columns.items()}
        return Batch(self.images_at(at), pool=len(self), **columns)

    def images_at(self, at: NDArray[np.int64]) -> Tensor:
        """The images at these places alone, (b, c, h, w) or (b, c, d, h, w) in [0, 1]."""
        if self.resident is not None:
            taken = self.resident[torch.from_numpy(at).to(self.device)]
        else:
            taken = _tensor(np.take(self.images, self.rows[at], axis=0)).to(self.device, non_blocking=True)
        return (taken.float() / self.scale).movedim(-1, 1)


def _tensor(images: NDArray[np.unsignedinteger]) -> Tensor:
    # torch has few operations on uint16
    return torch.from_numpy(images.astype(np.int32) if images.dtype == np.uint16 else np.ascontiguousarray(images))


def at_a_time(images: NDArray[np.unsignedinteger], most: int, enlarged: int = 1) -> int:
    """How many images (n, h, w, c) or volumes (n, d, h, w, c) make a batch: fewer than `most` where they are large.

    They are as large as an encoder sees them, which may have `enlarged` them so many times a side.
    """
    values = int(math.prod(enlarged * side for side in images.shape[1:-1]))
    return max(1, min(most, most * VALUES // values))


def places(step: int, batch: int, n: int, seed: int, patients: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Which places of a pool of `n` images step number `step` sees: epochs are permutations laid end to end.

    With `patients` (n,) two images of a patient lie side by side, in random pairs.
    """
    first = step * batch
    parts, at = [], first
    while at < first + batch:
        epoch, offset = divmod(at, n)
        order = (
            _order(n, seed, epoch) if patients is None else _in_pairs(patients, np.random.default_rng([seed, epoch]))
        )
        parts.append(order[offset : offset + first + batch - at])
        at += len(parts[-1])
    return np.concatenate(parts).astype(np.int64)


@lru_cache(maxsize=2)  # a step lies in one epoch or two; of a million images each permutation takes 20 ms
def _order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(n)


def _in_pairs(patients: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """A permutation in which the images of a patient are paired at random, each pair side by side at a random place."""
    n = len(patients)
    order = random.permutation(n)
    order = order[np.argsort(patients[order], kind="stable")]
    ordered = patients[order]
    rank = np.arange(n) - np.searchsorted(ordered, ordered)  # among the images of its patient
    pair = np.cumsum(rank % 2 == 0)
    return order[np.argsort(random.permutation(n + 1)[pair], kind="stable")]
