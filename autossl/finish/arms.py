"""The arms of a study: ways to a model, judged on patients that their fits have not seen, before anything is tested."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autossl.finish.baselines import SEARCHED, Effort, Fitted, Setting, fit, settings_of
from autossl.finish.folds import Folds
from autossl.nn.encoder import Encoder
from autossl.proxies import Outcomes
from autossl.targets import Readout
from autossl.train.resumable import Terms
from autossl.trials.context import Context

LEAST_PASSES, LEAST_IMAGES = 40, 16384  # of one fit: so many passes over its labels, or so many images if that is less
LAST = 2  # times as long as that of a fold is the fit to all labels
DRAWS = 400


@dataclass(frozen=True, eq=False)
class Arm:
    """One way to a model: a network with its readout, fitted to all labels outside the test part.

    `outcomes` are those of the judged images, each predicted by a fit without its fold; None where there are none.
    """

    name: str  # a key of ENTRANTS
    encoder: Encoder
    head: Readout
    outcomes: Outcomes | None
    effort: Effort | None = None  # of an arm that was trained on labels


def frozen(context: Context, name: str, encoder: Encoder, folds: Folds) -> Arm:
    """An encoder as it is, with the target's probe."""
    target, seen = context.judged, context.see(encoder, folds.rows)
    truth, groups = context.truth(folds.rows), context.groups(folds.rows)

    def answers() -> Iterator[NDArray[Any]]:
        for judged in folds.judged:
            others, held = folds.parts(judged)
            yield target.probe(seen[others], truth[others], groups[others]).answers(seen.pooled[held])

    outcomes = folds.outcomes(answers())
    return Arm(name, encoder, target.probe(seen, truth, groups), outcomes)


def trained(
    context: Context, name: str, start: Callable[[], Encoder], folds: Folds, terms: Terms, probed: bool
) -> Arm | None:
    """Encoders that `start` makes and a readout, both trained on labels; `probed`: from the probe on the frozen one.

    Settings are compared on the first judged fold, the best of them predicts the other folds and is fitted to all
    labels. Each fit has its own checkpoint beside `terms.path`, so that after a kill none is repeated. None where not
    one fit was whole: what was cut short would flatter what it is compared with.
    """
    fits = Fits(context, start, folds, terms, probed)
    settings = settings_of(context)
    settings = tuple(sorted(settings)) if probed else settings  # the lowest rate first where there is much to lose
    least = min(LEAST_PASSES * len(folds.rows), LEAST_IMAGES) * context.state("costs")["supervised"]
    compared = _affordable(terms.left, least, len(folds.judged))
    if not compared:
        return _made(context, name, fits.fitted(settings[0], folds.everything), fits, settings[0])
    fits.left = compared + len(folds.judged) - 1 + LAST
    tried = [found for setting in settings[:compared] if (found := fits.judged(setting, folds.judged[0])) is not None]
    if not tried:
        return None
    best = int(np.argmax([found.outcomes.worth(context.target.metric) for found in tried]))
    others = [fits.judged(settings[best], fold) for fold in folds.judged[1:]]
    raw = [found.raw for found in (tried[best], *others) if found is not None]
    # where time is over or a stop came, the network of the first fold stands, fitted to fewer labels
    final = fits.fitted(settings[best], folds.everything) or tried[best].fitted
    outcomes = folds.outcomes(iter(raw)) if len(raw) == len(folds.judged) else None
    return _made(context, name, final, fits, settings[best], outcomes, len(tried))


def _made(
    context: Context, name: str, final: Fitted | None, fits: "Fits", setting: Setting, outcomes: Outcomes | None = None,
    tried: int = 0,
) -> Arm | None:  # fmt: skip
    if final is None:
        return None
    lr, crop, jitter = setting
    settings = {"lr": lr, "crop_min": crop, "jitter": jitter, "tried": tried}
    effort = Effort(settings, round(fits.spent, 2), final.images / fits.labels, fits.images)
    return Arm(name, final.encoder, final.head, outcomes, effort)


def _affordable(seconds: float | None, least: float, folds: int) -> int:
    """How many settings there is time to compare where so many folds are judged; 0 where none can be judged.

    One fit takes at least so many seconds.
    """
    for settings in range(len(SEARCHED), 0, -1):
        if folds and (seconds is None or seconds >= least * (settings + folds - 1 + LAST)):
            return settings
    return 0


class OneFold(NamedTuple):
    """A fit on all folds but one, its raw answers to that one, and what they come to."""

    fitted: Fitted
    raw: NDArray[Any]
    outcomes: Outcomes


class Fits:
    """The fits of one arm, which share its time: `left` of them are still to come."""

    def __init__(
        self, context: Context, start: Callable[[], Encoder], folds: Folds, terms: Terms, probed: bool
    ) -> None:
        self.context, self.start, self.folds, self.terms = context, start, folds, terms
        self.spent, self.images, self.labels, self.left, self.number = 0.0, 0, 0, 1, 0
        self.seen = context.see(start(), folds.rows) if probed else None

    def judged(self, setting: Setting, fold: int) -> OneFold | None:
        """One fit on all folds but this; None as `fitted`."""
        others, held = self.folds.parts(fold)
        found = self.fitted(setting, others, f"{self.number}")
        self.number += 1
        if found is None:
            return None
        rows = self.folds.rows[held]
        raw = found.head.answers(self.context.see(found.encoder, rows).pooled)
        return OneFold(found, raw, self.context.judged.judge(raw, self.context.truth(rows)))

    def fitted(self, setting: Setting, at: NDArray[np.int64], name: str = "") -> Fitted | None:
        """One fit on the labels at these places; None if it was stopped, or there was no time."""
        rows, head = self.folds.rows[at], None
        if self.seen is not None:
            head = self.context.judged.probe(self.seen[at], self.context.truth(rows), self.context.groups(rows))
        terms = self.terms.without(self.spent)
        part = 1 / max(1, self.left)
        terms = terms.share(name, part, part) if name else terms
        found = fit(self.context, rows, self.start(), setting, terms, head)
        self.left -= 1
        if found is not None:
            self.spent, self.images, self.labels = self.spent + found.seconds, self.images + found.images, len(rows)
        return found


def choose(context: Context, arms: Sequence[Arm], folds: Folds) -> tuple[Arm, str]:
    """The best arm on the judged images and why, in words; `arms` begin with the simplest.

    Of arms that are within one standard error of the best, in pairs, the simplest.
    """
    judged = [arm for arm in arms if arm.outcomes is not None]
    if len(judged) < 2:
        return (judged or list(arms))[0], "nothing else could be judged" if len(arms) > 1 else "there was no other"
    metric, measure = context.target.metric, context.target.measure
    best = max(judged, key=lambda arm: _of(arm).worth(metric))
    gaps = [_of(best).minus(_of(arm), metric, folds.groups, draws=DRAWS) for arm in judged]
    near = [pair for pair in zip(judged, gaps, strict=True) if measure.worth(pair[1].value) <= pair[1].se]
    arm, gap = near[0] if near else (best, gaps[judged.index(best)])  # none where the metric is not defined
    own = measure.text(_of(arm).value(metric))
    if arm is best:
        return arm, f"it has the best {measure.words} on folds of the labels, {own}"
    return arm, (
        f"on folds of the labels it has a {measure.words} of {own}, within one standard error ({measure.text(gap.se)}) "
        f"of the best, {measure.text(_of(best).value(metric))}, which is less simple"
    )


def _of(arm: Arm) -> Outcomes:
    assert arm.outcomes is not None
    return arm.outcomes
