"""What an encoder sees of some images: pooled embeddings, kept, and feature maps, a batch at a time."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from autossl.nn.encoder import Features

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@final
class Seen:
    """n images as one encoder sees them.

    `pool()` gives their embeddings (n, d) and is asked once, `pass_over(rows)` yields places among the n and features
    on the device, batch by batch: maps of all images at once would not fit into memory.
    """

    def __init__(
        self, n: int, pool: Callable[[], Floats], pass_over: Callable[[Ints], Iterator[tuple[Ints, Features]]]
    ) -> None:
        self._n, self._pool, self._pass_over = n, pool, pass_over

    @classmethod
    def of(cls, z: Floats) -> Self:
        """Images of which only the pooled embeddings (n, d) are at hand."""

        def none(_: Ints) -> Iterator[tuple[Ints, Features]]:
            raise AssertionError("embeddings alone have no maps")

        return cls(len(z), lambda: z, none)

    def __len__(self) -> int:
        return self._n

    @cached_property
    def pooled(self) -> Floats:
        """(n, d), kept once computed."""
        return self._pool()

    def maps(self) -> Iterator[tuple[Ints, Features]]:
        """Places (b,) and features of these images, in batches on the device; a pass over the images each time."""
        return self._pass_over(np.arange(self._n))

    def __getitem__(self, taken: NDArray[Any]) -> "Seen":
        """These of the images (indices or a mask), from the same embeddings and passes."""
        rows = np.arange(self._n)[taken]

        def pass_over(at: Ints) -> Iterator[tuple[Ints, Features]]:
            place = np.full(self._n, -1)
            place[rows[at]] = at
            for found, features in self._pass_over(rows[at]):
                yield place[found], features

        return Seen(len(rows), lambda: self.pooled[rows], pass_over)
