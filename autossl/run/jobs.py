"""Single jobs on a finished or running study: train one candidate on, evaluate the model."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data import Fresh, known_digests
from autossl.data.truth import Truth
from autossl.errors import UserError
from autossl.errors.keywords import DURATION, optional, path_in, path_of, whole
from autossl.finish import anneal
from autossl.finish.one_test import count_test
from autossl.model import export
from autossl.model.load import load
from autossl.model.model import Model
from autossl.record.clock import seconds
from autossl.record.folder import check_folder, existing
from autossl.record.journal import entries
from autossl.report.facts import no_model
from autossl.train.resumable import Terms
from autossl.trials.context import PROBE, SELECTION, TEST, Context, open_context
from autossl.trials.standing import best, order

NUMBER = optional(whole(0, wanted="the number of a candidate", remedy="see autossl leaderboard"))


def train_on(run: str | Path, candidate: int | str | None, time_limit: str, output: str | Path) -> Path:
    """Train one candidate (default: the leader) on with a falling learning rate; write its encoder to `output`."""
    folder, candidate = existing(run), NUMBER.take("--candidate", candidate)
    limit = seconds(DURATION.take("--time-limit", time_limit))
    output = Path(path_of(output, "--output"))
    check_folder(output, "--output")
    context = open_context(folder)
    board = order(entries(context.study.get_trials(deepcopy=False)))
    chosen = best(board) if candidate is None else next((e for e in board if e.candidate == candidate), None)
    if chosen is None:
        raise UserError(
            f"a scored candidate was wanted, found none numbered {candidate} in {run}; see autossl leaderboard"
        )
    encoder, facts = anneal.train_on(context, chosen, Terms(limit))
    facts = context.card_facts({"candidate": chosen.candidate, **facts})
    export.write(Model(encoder, context.preprocessing(encoder)), output, facts)
    return output


def evaluate(
    run: str | Path,
    data: str | None = None,
    labels: str | None = None,
    label_column: str | None = None,
    patient_column: str | None = None,
) -> dict[str, Any]:
    """Metrics of the adapted model with 95 % intervals: on the study's test part (counted) or on other images.

    Intervals are over patients where the images have any, and left out where a class has too few of them to measure
    anything ("not measurable"). "warning" says that images are the study's own.
    """
    folder = existing(run)
    if not folder.model.is_dir():
        raise no_model(folder)
    context = open_context(folder)
    model, target = load(folder.model), context.judged
    warning: dict[str, str] = {}
    if data is None:
        count_test(context)
        rows = context.rows(TEST, labelled=True)
        images, truth, groups = np.asarray(context.data.images[rows]), context.truth(rows), context.groups(rows)
        unit = context.data.unit
    else:
        found = _labelled(
            model, context.data.truth, path_in(data, "--data"), labels=path_in(labels, "--labels"),
            label_column=label_column, patient_column=patient_column, missing=context.config.missing,
        )  # fmt: skip
        images, truth, warning = found.images, found.truth, _shared(context, found.digests)
        groups, unit = found.groups, found.unit
    outcomes = target.judge(model.answers_stored(images), truth, groups)
    few = target.few(truth, groups, unit, "this set", absent=False)
    intervals = {} if few else outcomes.intervals(target.reported, groups)
    return {
        **warning,
        **({"not measurable": few} if few else {}),
        "images": len(truth),
        **{name: round(outcomes.value(name), 4) for name in target.reported},
        "interval": {name: [round(end, 4) for end in ends] for name, ends in intervals.items()},
    }


def _labelled(model: Model, known: Truth, data: str, **columns: str | None) -> Fresh:
    """The labelled ones of these images, as the model takes them; UserError if there are none."""
    found = model.read(data, known=known, **columns)
    kept = found.truth.known
    if not kept.any():
        raise UserError(f"labelled images were wanted, found none in --data {data}; give --labels or --label-column")
    return found[kept]


def _shared(context: Context, digests: NDArray[np.uint8]) -> dict[str, str]:
    """A warning where images (by their pixels) are the study's own, so that their scores say little of others."""
    known, part = known_digests(context.folder.cache), context.data.part
    seen, tested = (_among(digests, known[np.isin(part, parts)]) for parts in ((PROBE, SELECTION), (TEST,)))
    if not seen + tested:
        return {}
    return {
        "warning": f"of these {len(digests)} images the study trained or chose with {seen} and has tested on {tested}: "
        "new images are likely to score lower; evaluate images that the study has not seen"
    }


def _among(digests: NDArray[np.uint8], known: NDArray[np.uint8]) -> int:
    """How many of the digests (n, b) are among others (m, b)."""
    names = {row.tobytes() for row in known}
    return sum(row.tobytes() in names for row in digests)
