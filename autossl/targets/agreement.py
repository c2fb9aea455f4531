"""How far one mask agrees with another: overlaps, distances of surfaces, and objects found."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from autossl.data.truth.structures import IGNORED
from autossl.proxies.image_metrics import FACTS

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

LEAST_IOU = 0.1  # of a true and a predicted object that meet, as detection in volumes has it


def agreement(said: NDArray[np.integer], truth: NDArray[np.uint8], kinds: int, grain: Floats) -> tuple[Floats, Floats]:
    """Pixels of each structure in truth (kinds,), and what the answer comes to (kinds, 7), see `mask_facts`.

    Both masks are (*space); `grain` is the size of a pixel, in which distances are told. What is not judged counts in
    nothing.
    """
    pixels, facts = np.zeros(kinds), np.zeros((kinds, FACTS))
    judged = truth != IGNORED
    for kind in range(kinds):
        there, found = truth == kind + 1, (said == kind + 1) & judged
        pixels[kind] = there.sum()
        facts[kind] = ((there & found).sum(), found.sum(), *surfaces(found, there, grain), *objects(found, there))
    return pixels, facts


def surfaces(found: Bools, there: Bools, grain: Floats) -> tuple[float, float]:
    """Share of both surfaces that lies within a pixel of the other, and the 95th percentile of the distances.

    The larger percentile of both directions (HD95), as MONAI has both, which imports for seconds. NaN without truth;
    of what was missed entirely no surface is near, and the distance is the diagonal of the image: to leave it out
    would reward it.
    """
    if not there.any():
        return np.nan, np.nan
    if not found.any():
        return 0.0, float(np.linalg.norm(np.array(there.shape) * grain))
    own, true = (np.argwhere(mask & ~ndimage.binary_erosion(mask)) * grain for mask in (found, there))
    far = [np.asarray(KDTree(other).query(points)[0]) for points, other in ((own, true), (true, own))]
    near = sum(int((each <= grain.max()).sum()) for each in far)
    return near / sum(each.size for each in far), max(float(np.percentile(each, 95)) for each in far)


def objects(found: Bools, there: Bools) -> tuple[int, int, int]:
    """True objects, those of them that a predicted one meets, and predicted ones that meet none.

    Objects are connected parts; two meet where their intersection over union is LEAST_IOU.
    """
    (true, n), (said, m) = ndimage.label(there), ndimage.label(found)
    both = there & found
    pairs, shared = np.unique(np.stack([true[both], said[both]]), axis=1, return_counts=True)
    sizes, others = np.bincount(true.ravel(), minlength=n + 1), np.bincount(said.ravel(), minlength=m + 1)
    meet = shared / (sizes[pairs[0]] + others[pairs[1]] - shared) >= LEAST_IOU
    return n, len(np.unique(pairs[0, meet])), m - len(np.unique(pairs[1, meet]))
