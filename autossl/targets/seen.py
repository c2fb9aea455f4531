"""What an encoder sees of some images: embeddings, kept, and feature maps, a batch at a time."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from autossl.nn.sight import PLAIN, Maps, Sight
from autossl.targets.readout import Readout

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@final
class Seen:
    """n images as one encoder sees them.

    `look(sight)` gives their embeddings (n, width) and is asked once for each sight; those with one stage are the
    first `dim` columns of those with two. `pass_over(rows)` yields places among the n and features on the device,
    batch by batch: maps of all images at once would not fit into memory.
    """

    def __init__(
        self,
        n: int,
        dim: int,
        look: Callable[[Sight], Floats],
        pass_over: Callable[[Ints], Iterator[tuple[Ints, Maps]]],
    ) -> None:
        self._n, self._dim, self._look, self._pass_over = n, dim, look, pass_over
        self._looked: dict[Sight, Floats] = {}

    @classmethod
    def of(cls, z: Floats) -> Self:
        """Images of which only the pooled embeddings (n, d) are at hand."""

        def none(_: Ints) -> Iterator[tuple[Ints, Maps]]:
            raise AssertionError("embeddings alone have no maps")

        def plain(sight: Sight) -> Floats:
            assert sight == PLAIN, "embeddings alone have been looked at"
            return z

        return cls(len(z), z.shape[1], plain, none)

    def __len__(self) -> int:
        return self._n

    @property
    def pooled(self) -> Floats:
        """(n, d), kept once computed."""
        return self.at(PLAIN)

    def at(self, sight: Sight) -> Floats:
        """(n, width), kept once computed; one stage costs nothing where two were looked at."""
        if sight not in self._looked:
            both = self._looked.get(replace(sight, stages=2))
            self._looked[sight] = self._look(sight) if both is None else np.ascontiguousarray(both[:, : self._dim])
        return self._looked[sight]

    def answers(self, readout: Readout) -> NDArray[Any]:
        """Raw answers (n, ...) of a readout to these images, as it keeps them."""
        if not readout.sight.maps:
            return readout.answers(self.at(readout.sight))
        found = None
        for at, maps in self.maps():
            part = readout.kept(readout(maps))
            found = np.empty((self._n, *part.shape[1:]), part.dtype) if found is None else found
            found[at] = part
        assert found is not None, "no image to answer for"
        return found

    def maps(self) -> Iterator[tuple[Ints, Maps]]:
        """Places (b,) and features of these images, in batches on the device; a pass over the images each time."""
        return self._pass_over(np.arange(self._n))

    def __getitem__(self, taken: NDArray[Any]) -> "Seen":
        """These of the images (indices or a mask), from the same embeddings and passes."""
        rows = np.arange(self._n)[taken]

        def pass_over(at: Ints) -> Iterator[tuple[Ints, Maps]]:
            place = np.full(self._n, -1)
            place[rows[at]] = at
            for found, features in self._pass_over(rows[at]):
                yield place[found], features

        return Seen(len(rows), self._dim, lambda sight: self.at(sight)[rows], pass_over)
