"""What things cost on this machine, and where candidates begin: from given weights only if there is time for it."""

import logging
from dataclasses import asdict, replace
from typing import Any

from autossl.finish.baselines import UNTRAINED_SEED
from autossl.run.forecast import Forecast
from autossl.trials.calibrate import Counts, Speed, costs, measure, needs
from autossl.trials.context import PROBE, SELECTION, TEST, Context
from autossl.trials.plan import fits
from autossl.trials.sizing import AMBITIONS, Costs, Needs
from autossl.trials.starts import RANDOM, Start, at_random

MEASURING = 4.0  # seconds for the speed of an encoder, at most
LEAST_EPOCHS = 1.0  # of the pool that a final training from given weights should see; else candidates begin at random
PASSES = 2.3  # of an encoder for one image in training, views and heads included

log = logging.getLogger("autossl")


def begun(context: Context, limit: float | None, now: float, forecast: Forecast | None) -> dict[str, Any]:
    """Costs, and the start of candidates: facts for the study's state.

    Candidates begin from the given weights that lead only where that is asked for, or where the limit (seconds, of
    which `now` are over) has time for a plan, and for training on that is worth the name.
    """
    random = at_random(context.config)
    speeds = {RANDOM: _speed(context, random, limit)}
    if forecast is not None:
        speeds[RANDOM] = speeds[RANDOM].or_faster(forecast.speed)
    if context.given is not None:
        speeds[context.given.name] = _speed(context, context.given, limit)
    begins, known = context.begins, context.state("starts")
    found = _costs(context, begins, speeds, forecast)
    if begins.given and context.config.start == "auto" and limit is not None:
        enough = AMBITIONS[-3].final * limit >= LEAST_EPOCHS * len(context.probe_pool) * PASSES * found.per_pass
        if not enough or not fits(limit, now, needed(context, found)):
            log.info(
                "candidates begin from random weights: there is no time to train on from %s, which %s as it is",
                begins.words(context.config.image_size), "is judged and fine-tuned",
            )  # fmt: skip
            found, known = _costs(context, random, speeds, forecast), {**known, "begins": RANDOM}
    return {"costs": asdict(found), **({} if known is None else {"starts": known})}


def needed(context: Context, found: Costs) -> Needs:
    """What a plan must provide for, at these costs."""
    priors = {name: len(context.space[name].priors) for name in context.config.methods}
    return needs(context.config, priors, context.data.dims, _counts(context), found, context.target)


def _speed(context: Context, start: Start, limit: float | None) -> Speed:
    encoder = context.encoder(start, UNTRAINED_SEED)
    return measure(encoder, context.channels, context.device, limit, MEASURING)


def _costs(context: Context, begins: Start, speeds: dict[str, Speed], forecast: Forecast | None) -> Costs:
    """What things cost where candidates begin so; encoders are as fast as they ever were, scoring as it just was."""
    speed = speeds[begins.name]
    rows = context.state("baselines")
    row = rows["untrained"] if begins.place is None else rows[begins.words(context.config.image_size)]
    score = float(row["seconds"])
    if forecast is not None and begins.place is None:
        score = forecast.corrected(score)
    dim = context.encoder(replace(begins, place=None), 0).dim
    found = costs(context.config, speed, _counts(context), score, dim, context.target)
    slowest = max(each.embed for each in speeds.values())
    on_labels = {name: found.supervised / speed.per_pass * each.per_pass for name, each in speeds.items()}
    return replace(
        found, embed=slowest, supervised=on_labels[RANDOM], tuned=found.supervised,
        given=on_labels.get(context.given.name, 0.0) if context.given else 0.0,
    )  # fmt: skip


def _counts(context: Context) -> Counts:
    labelled = len(context.rows(PROBE, SELECTION, labelled=True))
    return Counts(len(context.probe_pool), labelled, len(context.rows(TEST)))
