"""What labels say of views before any training, by every eye of the harm test, for the sets of `studies.harm.run`.

    python -m studies.harm.asked DATA_FOLDER WORK_FOLDER [--sets cells pbc ...]

`kept` is what a probe of views finds in views of other patients; `shifted` what a probe of images as they are does,
which was tried and is not what the product asks. Both less what is found in images as they are, with standard errors.
"""

import time
from typing import Any

import numpy as np

from autossl.proxies import Outcomes, judging_folds
from autossl.run.harm import DRAWS, Asked, Eye, Floats, asked, eyes, read
from autossl.targets import Seen
from studies.harm.run import arguments, contexts_of
from studies.rows import Rows

FOLDS = 3  # of the probe of images as they are


def readings(eye: Eye, groups: list[list[Asked]]) -> list[dict[str, Any]]:
    """Both differences for all views."""
    clean = eye.seen(eye.context.plain.standardise)
    plain, found = answered(eye, clean, clean), []
    for one in (one for group in groups for one in group):
        less = [
            answered(eye, clean, z).minus(plain, eye.context.target.metric, eye.groups, draws=DRAWS)
            for z in eye.views(one)
        ]
        shifted = [round(float(np.mean([getattr(each, name) for each in less])), 4) for name in ("value", "se")]
        reading = read([eye], one)
        found.append(
            {"view": one.view, "strength": one.strength, "kept": [reading.kept, reading.se], "shifted": shifted}
        )
    return found


def answered(eye: Eye, clean: Floats, z: Floats) -> Outcomes:
    """What a probe of images as they are (n, d) answers to views (n, d) of other patients."""
    target, truth, groups = eye.context.judged, eye.context.truth(eye.rows), eye.groups
    fold, raw = judging_folds(truth.strata, groups, most=FOLDS), None
    for judged in range(int(fold.max()) + 1):
        learn, judge = np.flatnonzero(fold != judged), np.flatnonzero(fold == judged)
        part = target.transfer(Seen.of(clean[learn]), truth[learn], groups[learn], Seen.of(z[judge]))
        raw = np.empty((len(z), *part.shape[1:]), part.dtype) if raw is None else raw
        raw[judge] = part
    assert raw is not None
    return target.judge(raw, truth, groups).within(fold)


def main() -> None:
    """The command line."""
    found = arguments(__doc__, "asked.json")
    rows = Rows(found.out, {})
    for name in found.sets:
        for target, context in contexts_of(name, found.data, found.work).items():
            groups = asked(context.preset, context.data.dims)
            for eye in eyes(context):
                if (key := f"{name} {target} {eye.name}") not in rows:
                    started = time.monotonic()
                    told = {"clean": round(eye.value, 4), "labels": len(eye.rows), "readings": readings(eye, groups)}
                    rows.add(key, {**told, "s": round(time.monotonic() - started, 1)})
                    print(key, told["clean"], rows.rows[key]["s"], flush=True)


if __name__ == "__main__":
    main()
