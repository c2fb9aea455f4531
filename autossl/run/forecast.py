"""Whether a time limit can be enough, told before an image is decoded: from headers and a second of measuring."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch

from autossl.data import Source
from autossl.data.parts import OFFICIAL_TEST
from autossl.data.readers.images import Unreadable
from autossl.data.store import brought_to
from autossl.errors import UserError
from autossl.finish.baselines import UNTRAINED_SEED
from autossl.nn.encoder import dims_of
from autossl.record.clock import as_option, in_words
from autossl.record.config import StudyConfig
from autossl.record.shares import TEST_SHARE
from autossl.targets import target_class
from autossl.trials.calibrate import Counts, Speed, costs, measure, needs
from autossl.trials.context import SCORED
from autossl.trials.fitted import served
from autossl.trials.limits import FLOOR_SECONDS, too_short
from autossl.trials.plan import fits, least_limit
from autossl.trials.sizing import Needs
from autossl.trials.space import read_space
from autossl.trials.starts import at_random, new_encoder

SELECTED = 0.15  # of the images outside the test part, that the search does not train on
PREPARED = 3.0  # seconds between the last decoded image and the plan, besides what is measured here
SECONDS = 1.0  # for measuring an encoder
LOOKED_AT = 12  # images that are decoded to see how long that takes
LOOK_SECONDS = 0.5
SLOWER = 1.5  # the limit that is named is enough on a machine so many times as slow: it may be busier the next time
CLOSE = 0.5  # seconds
SMALLER = {2: (64, 32), 3: (32,)}  # sides that are proposed where images are larger


Resized = Callable[[int], StudyConfig]  # the settings of the same study at another image size


@dataclass(frozen=True)
class Forecast:
    """What is known of a study before its images are decoded; times in seconds."""

    speed: Speed
    score: float  # of scoring one embedding, on an idle machine
    needs: Needs
    before: float  # from now until the plan, on an idle machine
    busy: float  # so many times as long does work take now, beside other programs
    planned_away: tuple[str, ...] = ()  # a sentence where images are smaller than they would be with more time

    def fits(self, limit: float, used: float) -> bool:
        """Whether a limit of which `used` are over may do."""
        return fits(limit, used + self.before, self.needs)

    def spare(self, limit: float | None, now: float) -> float | None:
        """Seconds that may pass from `now`, when images are decoded, until a limit that fits would do no more."""
        if limit is None:
            return None
        low, high = 0.0, limit
        while high - low > CLOSE:
            middle = (low + high) / 2
            low, high = (middle, high) if fits(limit, now + self.score + middle, self.needs) else (low, middle)
        return low

    def enough(self, least: float, used: float) -> int:
        """A limit from `least` on that does, on a machine that is as busy as now and SLOWER still."""
        costs = self.needs.costs.slower(SLOWER)
        slower = replace(self.needs, costs=replace(costs, score=self.busy * costs.score))
        return least_limit(least, SLOWER * (used + self.busy * self.before), slower)

    def corrected(self, score: float) -> float:
        """A later measurement of scoring, but not beyond what `enough` allowed for: a busy moment must not take that
        back.

        Scoring is timed once only; half of that counts in any case, which the margins of a plan make up for.
        """
        return max(score / 2, min(score, SLOWER * self.busy * self.score))


def foresee(
    source: Source, config: StudyConfig, limit: float, used: float, resized: Resized, sides: Sequence[int] = ()
) -> tuple[Forecast, StudyConfig]:
    """What a time limit (seconds, of which `used` are over) is enough for: the study, or it on smaller images.

    These are of the first of `sides` for which the time does. UserError names a limit that is enough, and smaller
    images. What cannot be known yet is taken for cheap, so that what is refused here would be refused after decoding
    as well.
    """
    found = _forecast(source, config, limit, SECONDS)
    if found.fits(limit, used):
        return found, config
    for side in sides:
        with suppress(UserError):  # a backbone may not take them
            other = resized(side)
            less = _forecast(source, other, limit, SECONDS / 2)
            if less.fits(limit, used):
                whole = as_option(found.enough(limit, used))
                told = f"Images are brought to {side} a side: {config.image_size} would need --time-limit {whole}."
                return replace(less, planned_away=(told,)), other
    raise too_short(limit, found.enough(limit, used), _with_smaller(source, config, limit, used, resized))


def smaller(config: StudyConfig) -> int | None:
    """The side of images that a limit which is too short may suffice for; None where they are small already.

    Of smaller windows there would be more.
    """
    if config.windows is not None:
        return None
    return next((side for side in SMALLER[dims_of(config.backbone)] if side < config.image_size), None)


def or_smaller(config: StudyConfig, needed: str = "") -> str:
    """The other way out of a limit that is too short, in words."""
    side = smaller(config)
    return "" if side is None else f", or smaller images: --image-size {side}{needed}"


def _with_smaller(source: Source, config: StudyConfig, limit: float, used: float, resized: Resized) -> str:
    """The same with what smaller images need; a backbone may not take them."""
    side = smaller(config)
    if side is None:
        return ""
    with suppress(UserError):
        found = _forecast(source, resized(side), limit, SECONDS / 2)
        return or_smaller(config, f" needs {in_words(found.enough(FLOOR_SECONDS, used))}")
    return ""


def _forecast(source: Source, config: StudyConfig, limit: float, seconds: float) -> Forecast:
    began, worked = time.perf_counter(), time.process_time()
    device = torch.device(config.device)
    encoder = new_encoder(config, source.channels, device, UNTRAINED_SEED, at_random(config))
    speed = measure(encoder, source.channels, device, limit, seconds)
    counts = _counts(source, config.max_labels)
    scored = round((1 - SELECTED) * counts.labelled) if source.truth.looked_at else counts.pool
    score = _score_seconds(min(SCORED, scored), encoder.dim, speed)
    target = target_class(config.task)(source.truth.about, config.metric)
    found = costs(config, speed, counts, score, encoder.dim, target)
    space, _ = served(read_space(config.space), frozenset(config.lacks))
    priors = {name: len(space[name].priors) for name in config.methods}
    before = _decoding(source, config.image_size) + PREPARED + score
    busy = (time.perf_counter() - began) / (time.process_time() - worked)
    return Forecast(speed, score, needs(config, priors, source.dims, counts, found, target), before, max(1.0, busy))


def _counts(source: Source, most: int | None) -> Counts:
    official, labelled = source.split == OFFICIAL_TEST, source.truth.known
    share = 0.0 if official.any() else TEST_SHARE
    outside = round((1 - share) * int((labelled & ~official).sum()))
    tested = int((labelled & official).sum()) + round(share * int(labelled.sum()))
    pool = round((1 - SELECTED) * (source.n - max(tested, int(official.sum()))))
    return Counts(max(1, pool), min(outside, most or outside), tested)


def _score_seconds(n: int, dim: int, speed: Speed) -> float:
    """Of embedding and scoring n images: the proxies decompose (n, dim) matrices."""
    return 0.3 + speed.embed * n + 1e-9 * n * dim * min(n, dim)


def _decoding(source: Source, side: int) -> float:
    """Seconds that decoding takes at this side: a few images, one after the other, as if all cores were used well."""
    began, worked, seen = time.perf_counter(), time.process_time(), 0
    for row in np.linspace(0, source.n - 1, LOOKED_AT).astype(int).tolist():
        with suppress(Unreadable, UserError):  # said when all are decoded
            brought_to(side, source, row, source.read(row))
        seen += 1
        if time.perf_counter() - began > LOOK_SECONDS:
            break
    cores = 1 if source.files is None else len(os.sched_getaffinity(0))
    images = source.n if source.image is None else int(source.image[-1]) + 1  # each is decoded once for its windows
    return (time.process_time() - worked) / seen * images / cores
