"""A few images of the test part beside what is true of them and what networks answer, for the report."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.finish.tested import Outcome
from autossl.record.folder import replace_file
from autossl.targets.base import PICTURED
from autossl.trials.context import TEST, Context

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # places among the images, from the worst answer to the best
WORST = 2  # so many of the worst


def keep(context: Context, outcome: Outcome, chosen: str) -> None:
    """Keep them where answers show in images, and the networks are at hand: after a kill in the test they are not."""
    names = [name for name in dict.fromkeys((chosen, "supervised")) if name in outcome.told]
    target = context.judged
    if target.figure not in PICTURED or chosen not in names or context.config.no_images:
        return
    rows = context.rows(TEST, labelled=True)
    value, truth = outcome.outcomes[chosen].each(target.metric), context.truth(rows)
    best = picked(value)
    at = truth.shown(best)
    arrays: dict[str, NDArray[Any]] = {
        "images": np.take(context.data.images, rows[at], axis=0),
        "scale": np.array(context.data.scale),
        "truth": truth[at].array,
        "value": value[best],
        "names": np.array(names),
    }
    for name in names:
        arrays[f"of {name}"] = target.pictured(outcome.told[name](at))
    path = context.folder.artifacts / "pictures.npz"
    replace_file(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def picked(value: NDArray[np.float64]) -> NDArray[np.int64]:
    """Places of images by the value (n,) of their answers: the worst, and from there to the best, ascending."""
    known = np.flatnonzero(np.isfinite(value))
    order = known[np.argsort(value[known], kind="stable")]
    if not len(order):
        return order
    places = [round(share * (len(order) - 1)) for share in SHARES]
    return np.asarray(order[np.unique([*range(min(WORST, len(order))), *places])], dtype=np.int64)
