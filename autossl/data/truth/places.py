"""Places drawn of masks: as many of each structure as of the others, so that readouts of maps are fitted on few."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth.base import Ints
from autossl.data.truth.ranges import Floats


class Places(NamedTuple):
    """Pixels drawn of some samples: in which sample (k,), where (k, dims), of which structure (k,), for how many.

    `where` (k, dims) are their centres in shares of the sides.
    """

    sample: Ints
    at: Ints
    structure: Ints
    weight: Floats
    where: Floats


def drawn(masks: NDArray[np.uint8], kinds: int, most: int, seed: int) -> Places:
    """About so many pixels of masks (n, *space) of so many kinds, see `Masks.places`."""
    random, found = np.random.default_rng(seed), list[tuple[NDArray[Any], ...]]()
    space, flat = masks.shape[1:], masks.reshape(len(masks), -1)
    counts = np.stack([(flat == kind).sum(1) for kind in range(kinds)], axis=1)
    each = np.maximum(1, most // kinds // np.maximum(1, (counts > 0).sum(0)))
    for sample, mask in enumerate(flat):
        for kind in np.flatnonzero(counts[sample]):
            inside = np.flatnonzero(mask == kind)
            taken = random.choice(len(inside), min(len(inside), each[kind]), replace=False, shuffle=False)
            some = np.sort(inside[taken])
            weight = len(inside) / len(some)
            found.append((np.full(len(some), sample), some, np.full(len(some), kind), np.full(len(some), weight)))
    samples, where, kinds_of, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    at = np.stack(np.unravel_index(where, space), axis=1)
    return Places(samples, at, kinds_of, weights, (at + 0.5) / np.array(space))
