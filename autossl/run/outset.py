"""What things cost on this machine, and where candidates begin: from given weights only if there is time for it."""

import logging
from dataclasses import asdict, replace
from typing import Any

from autossl.errors.printable import one_line
from autossl.finish.baselines import UNTRAINED_SEED
from autossl.nn.sight import VIEWS
from autossl.run.forecast import Forecast
from autossl.train.partial import offered
from autossl.train.rates import usual_decay
from autossl.trials.calibrate import Counts, Speed, costs, measure, needs
from autossl.trials.context import PROBE, SELECTION, TEST, Context
from autossl.trials.costs import Costs
from autossl.trials.fitted import late_from
from autossl.trials.plan import fits_whole
from autossl.trials.sizing import Needs
from autossl.trials.starts import RANDOM, Start, at_random

MEASURING = 4.0  # seconds for the speed of an encoder, at most
BRIEFLY = 0.015  # share of the limit for the speed of given weights in one precision, at most
LEAST_EPOCHS = 1.0  # of the pool that a final training from given weights should see; else candidates begin at random
FINAL, PASSES = 0.45, 2.3  # share of the limit for it, and passes of an encoder for one image, views and heads included
FINETUNE = 0.07  # share of the limit for training them on labels
FITS, FEWEST_PASSES, MOST_NEEDED = 3, 12, 16384  # what is to fit there: fits of so many passes, images at most
PRECISIONS = ("bf16", "fp32")
AS_THEY_ARE = 0.1  # share of the limit that embedding all labelled images by given weights as they are may take
TURNED = 0.02  # share of the limit that means over flips and turns of given weights may take
ON_LABELS = 1.3  # passes for one image of that

log = logging.getLogger("autossl")


def begun(context: Context, limit: float | None, now: float, forecast: Forecast | None) -> dict[str, Any]:
    """Costs, how given weights are trained, and where candidates begin: facts for the study's state.

    Candidates begin from the given weights that lead only where that is asked for, or where the limit (seconds, of
    which `now` are over) has time for a plan, and for training on that is worth the name.
    """
    random, known = at_random(context.config), context.state("starts")
    speeds = {RANDOM: _speed(context, random, limit)}
    if forecast is not None:
        speeds[RANDOM] = speeds[RANDOM].or_faster(forecast.speed)
    trains = None if context.given is None else _trained(context, limit, speeds)
    given = None if trains is None else _as_they_are(context, limit, trains, speeds[trains.name])
    found = _costs(context, random, trains, given, speeds, forecast)
    begins = False
    if trains is not None and known["begins"]:
        training = _costs(context, trains, trains, given, speeds, forecast)
        begins = context.config.start == "weights" or limit is None or _worth(context, limit, now, training)
        if begins:
            found = training
        else:
            log.info("candidates begin from random weights: there is no time to train on from given ones")
    feeds = {"given": given and given.to_dict(), "trains": trains and trains.to_dict()}
    return {"costs": asdict(found), "starts": {**known, **feeds, "begins": begins}}


def _worth(context: Context, limit: float, now: float, found: Costs) -> bool:
    """Whether at these costs there is time for a search, for fine-tuning, and for a final training of some epochs."""
    pool = LEAST_EPOCHS * len(context.probe_pool)
    return FINAL * limit >= pool * PASSES * found.per_pass and fits_whole(limit, now, needed(context, found))


def _trained(context: Context, limit: float | None, speeds: dict[str, Speed]) -> Start:
    """The best-scored way to feed the given weights in which there is time to train them on the labels.

    Without a limit the one with the smallest of the enlarged images. Speeds of ways that are not measured are taken to
    go with the size of an image.
    """
    ways = [Start.from_dict(values) for values in context.state("starts")["ways"]]
    least = min(start.upsample for start in ways)
    smallest = min((s for s in ways if s.upsample > least), default=ways[0], key=lambda start: start.upsample)
    precision, speed = _fastest(context, smallest, limit)
    images = min(FEWEST_PASSES * FITS * _counts(context).labelled, MOST_NEEDED)
    start, times = smallest, 1.0
    for way in ways if limit is not None else ():
        larger = (way.upsample / smallest.upsample) ** context.data.dims
        if way == smallest or FINETUNE * (limit or 0.0) >= ON_LABELS * larger * speed.per_pass * images:
            start, times = way, larger
            break
    speeds[start.name] = Speed(times * speed.per_pass, times * speed.embed)
    network = context.encoder(replace(start, place=None), 0)
    return replace(start, precision=precision, trained=offered(network), layer_decay=usual_decay(network))


def _fastest(context: Context, start: Start, limit: float | None) -> tuple[str | None, Speed]:
    """In which precision this start trains fastest (None: that of the study), and how fast.

    Not every network gains by bf16: EfficientNet-Lite0 took 1.4 to 3.6 times as long in it on a CPU. Without a limit no
    measured time may decide.
    """
    tried = PRECISIONS if limit is not None and context.config.precision == "bf16" else (None,)
    seconds = MEASURING if limit is None else min(MEASURING, BRIEFLY * limit)
    found = {precision: _speed(context, replace(start, precision=precision), limit, seconds) for precision in tried}
    precision = min(found, key=lambda name: found[name].per_pass)
    return precision, found[precision]


def needed(context: Context, found: Costs) -> Needs:
    """What a plan must provide for, at these costs."""
    priors = {name: len(context.space[name].priors) for name in context.config.methods}
    begins, config = context.begins, context.config
    late = late_from(None if begins.place is None else config.given[begins.place])
    return needs(config, priors, context.data.dims, _counts(context), found, context.target, late)


def _speed(context: Context, start: Start, limit: float | None, seconds: float = MEASURING) -> Speed:
    encoder = context.encoder(start, UNTRAINED_SEED)
    return measure(encoder, context.channels, context.device, limit, seconds)


def _costs(
    context: Context,
    begins: Start,
    trains: Start | None,
    given: Start | None,
    speeds: dict[str, Speed],
    forecast: Forecast | None,
) -> Costs:
    """What things cost where candidates begin so; encoders are as fast as they ever were, scoring as it just was."""
    speed, rows = speeds[begins.name], context.state("baselines")
    name = one_line(begins.words(context.config.image_size)) if begins.given else "untrained"
    score = float(rows[name]["seconds"])
    if forecast is not None and not begins.given:
        score = forecast.corrected(score)
    dim = context.encoder(replace(begins, place=None), 0).dim
    found = costs(context.config, speed, _counts(context), score, dim, context.target)
    on_labels = {name: found.supervised / speed.per_pass * each.per_pass for name, each in speeds.items()}
    found = replace(found, supervised=on_labels[RANDOM], tuned=found.supervised)
    if trains is None or given is None:
        return found
    tuned = speeds[trains.name].embed
    as_it_is = _embedded(context, replace(given, precision=None), trains, speeds[trains.name])
    return replace(found, given=on_labels[trains.name], embed_given=as_it_is, embed_tuned=tuned)


def _as_they_are(context: Context, limit: float | None, trains: Start, speed: Speed) -> Start:
    """How given weights are fed as they are: in the best-scored way, or the best with time for flips and turns.

    Where orientation tells nothing, means over flips and turns gain more than the largest size (docs/decisions.md). A
    way in which all labelled images would take too much of the limit is passed over.
    """
    ways = [Start.from_dict(values) for values in context.state("starts")["ways"]]
    if limit is None:
        return ways[0]
    counts = _counts(context)
    images = counts.labelled + counts.test
    timed = [(start, images * _embedded(context, start, trains, speed)) for start in ways]
    if "orientation" in context.config.lacks:
        for start, seconds in timed:
            if start.upsample >= trains.upsample and VIEWS * seconds <= TURNED * limit:
                return start
    return next((start for start, seconds in timed if seconds <= AS_THEY_ARE * limit), trains)


def _embedded(context: Context, start: Start, trains: Start, speed: Speed) -> float:
    """Seconds to embed an image by these weights fed so: by its size, and no less than the look at them took.

    Large images take more than their size tells. The way that was looked at fastest tells what proxies took.
    """
    by_size = speed.embed * (start.upsample / trains.upsample) ** context.data.dims
    rows, size = context.state("baselines"), context.config.image_size
    names = [one_line(Start.from_dict(values).words(size)) for values in context.state("starts")["ways"]]
    took = {name: float(rows[name]["seconds"]) for name in names if name in rows}
    if (own := one_line(start.words(size))) not in took:
        return by_size
    return max(by_size, (took[own] - min(took.values())) / len(context.scored_rows))


def _counts(context: Context) -> Counts:
    labelled = len(context.rows(PROBE, SELECTION, labelled=True))
    return Counts(len(context.probe_pool), labelled, len(context.rows(TEST)))
