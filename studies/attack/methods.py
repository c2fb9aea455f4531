"""Wrong calls of the Python interface, second part: load, resume, and the methods of a finished study."""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np

from autossl.study import Study
from studies.attack.acts import call, good_npz
from studies.attack.calls import ODD, WRITES
from studies.attack.case import EITHER, ENDED, REFUSED, Case
from studies.attack.commands import with_study
from studies.attack.study import prepare

__all__ = ["cases", "prepare"]


def cases(seed: int) -> Sequence[Case]:
    """Each with odd values."""
    return list(_studies(random.Random(seed)))


def _studies(rng: random.Random) -> Iterator[Case]:
    """resume, load, and the methods of a study."""
    import autossl

    for name, value in ODD.items():
        yield Case(f"load({name})", call(partial(autossl.load, value)), good_npz, REFUSED)
        yield Case(f"resume({name})", call(partial(autossl.resume, value)), good_npz, REFUSED)
    whole = with_study(lambda run: None)
    methods: dict[str, Callable[[Any], Any]] = {
        "embed": lambda v: Study("run").embed(v), "export": lambda v: Study("run").export(v),
        "candidate": lambda v: Study("run").export("copy", v),
        "report": lambda v: Study("run").report(v),
        "time_limit": lambda v: autossl.resume("run", time_limit=v),
        "encoder.embed": lambda v: autossl.load("run").embed(v),
    }  # fmt: skip
    for method, do in methods.items():
        for name in rng.sample(sorted(ODD), 16):
            if method == "time_limit" and isinstance(ODD[name], int | float | np.number | timedelta):
                continue  # which may go on with the study
            yield Case(f"{method}({name})", call(partial(do, ODD[name])), whole, EITHER, until=ENDED, writes=WRITES)
