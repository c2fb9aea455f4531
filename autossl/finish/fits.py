"""The fits of one arm to labels, which share its time: which settings are tried, and how many passes are enough."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autossl.finish import baselines
from autossl.finish.baselines import Fitted, batch_of, fit, settings_of
from autossl.finish.folds import LAST, LEAST_IMAGES, Folds
from autossl.nn.encoder import Encoder
from autossl.nn.sight import VIEWS
from autossl.proxies import Outcomes
from autossl.targets import Readout
from autossl.train.loop import SETTLING, Diverged
from autossl.train.resumable import Terms
from autossl.trials.context import Context

log = logging.getLogger("autossl")

FIRST_STEPS = 600  # of the first fit where there is a limit
ONCE = 1.0  # passes at the least of a network that is to have learnt from the labels alone
AVERAGED = 2  # times as long as the least must fits be before weights of several are averaged
PROBING = 0.1  # of the time at most goes to probes on fine-tuned encoders
OWN, PROBE = "own", "probe"  # readouts
DRAWS = 400


class OneFold(NamedTuple):
    """A fit on all folds but one, raw answers to that one by its readouts, and what those of its own head come to."""

    fitted: Fitted
    raws: dict[str, NDArray[Any]]  # by OWN and, of a fine-tuned encoder, by PROBE
    outcomes: Outcomes


class Scheme(NamedTuple):
    """How many settings are compared on the first of so many judged folds, and what follows.

    Where they are `averaged` all of them go on to every fold, so that the mean of their weights is judged. The `last`
    fit is to all labels; without it the network that was judged is the one that is delivered.
    """

    settings: int
    folds: int
    averaged: bool = False
    last: bool = True

    @property
    def fits(self) -> float:
        """How many fits of a fold's length that comes to."""
        others = self.folds - 1 + LAST * self.last
        return self.settings * (1 + others) if self.averaged else self.settings + others


class Fits:
    """The fits of one arm, each with its own checkpoint beside `terms.path`: `left` of them are still to come.

    Settings are compared on the first judged fold, the best of them, or all, predict the other folds and are fitted to
    all labels. Where there is a limit, each sees its labels `passes` times: what was enough on the first fold. `folds`
    are those that there is time for: the first alone where it is too little for more than one fit.
    """

    def __init__(
        self,
        context: Context,
        start: Callable[[], Encoder],
        folds: Folds,
        terms: Terms,
        probed: bool,
        cost: str = "supervised",
    ) -> None:
        self.context, self.start, self.terms = context, start, terms
        self.granted, self.whole = terms.left if terms.seconds is None else terms.seconds, terms.left
        self.spent, self.images, self.made, self.left = 0.0, 0, 0, 1.0
        self.heads = dict[str, Readout]()  # of frozen encoders, by what was left out
        begins = context.trains if cost == "given" else context.begins
        settings = settings_of(context, begins if probed else None)  # the lowest rate first where there is much to lose
        self.settings = tuple(sorted(settings)) if probed and not context.judged.decodes else settings
        self.passes = baselines.LABEL_PASSES if self.granted is None else first_passes(len(folds.rows))
        labels, encoder = len(folds.rows), start()
        self.seen = context.see(encoder, folds.rows) if probed else None
        least, self.after = one_fit(context, labels, cost)
        self.least = least_images(context, labels)
        self.scheme = affordable(self.granted, least + self.after, len(self.settings), len(folds.judged), probed)
        self.folds = folds.first(self.scheme.folds)
        probing = context.judged.probe_seconds(labels, encoder.dim) * self.scheme.fits
        worth = probed and not context.judged.decodes  # a linear layer would stand where a decoder has learnt
        self.probing = worth and (self.granted is None or probing <= PROBING * self.granted)

    def compared(self) -> dict[int, OneFold]:
        """The settings of the scheme on the first judged fold, by number, as many as were whole; passes come first."""
        self.left = self.scheme.fits
        first = self.folds.judged[0]
        found = {}
        for number in range(self.scheme.settings):
            one = self.judged(number, first)
            if number == 0 and one is not None and self._slow(one):
                return {0: self._alone(first, one)}
            if one is not None:
                found[number] = self._enough(number, first, one) if number == 0 else one
        return found

    def _slow(self, one: OneFold) -> bool:
        """Whether images took so much longer than was reckoned that there is time for one fit only."""
        if self.granted is None or not self.scheme.last:
            return False
        least = self.least * one.fitted.seconds / one.fitted.images + self.after
        return not affordable(self.granted, least, 1, 1, averaged=False).last

    def _alone(self, fold: int, one: OneFold) -> OneFold:
        """A fit in all the time that is left, or that which has shown that there is no more, whichever is better."""
        self.scheme, self.folds = Scheme(1, 1, last=False), self.folds.first(1)
        self.left, self.passes = 1.0, 2 * self.passes
        longer = self.judged(0, fold)
        return one if longer is None or self._gain(one, longer, fold)[0] < 0 else longer

    def _enough(self, number: int, fold: int, one: OneFold) -> OneFold:
        """Double the passes until the score rises by no more than its standard error; of the last two the better."""
        while self._room(one):
            before, self.passes = self.passes, min(2 * self.passes, most_passes())
            self.left = self.scheme.fits
            longer = self.judged(number, fold)
            if longer is None:
                self.passes = before
                return one
            gain, error = self._gain(one, longer, fold)
            if gain <= error:
                self.passes = self.passes if gain > 0 else before
                return longer if gain > 0 else one
            one = longer
        return one

    def spare(self, one: OneFold) -> bool:
        """Whether a fit to all labels follows: it was planned, or this one has left as much as it takes."""
        if self.scheme.last or self.granted is None:
            return True
        whole = one.fitted.images >= round(self.passes * one.fitted.labels)
        each = one.fitted.seconds * len(self.folds.rows) / one.fitted.labels + self.after
        return whole and self.granted - self.spent - self.made * self.after >= each

    def _room(self, one: OneFold) -> bool:
        """Whether the fit came to its last pass, more may be tried, and there is time for all fits to be as long."""
        whole = one.fitted.images >= round(self.passes * one.fitted.labels)
        if self.granted is None or not whole or self.passes >= most_passes():
            return False
        each = 2 * one.fitted.seconds + self.after
        return self.granted - self.spent - self.made * self.after >= each * self.scheme.fits

    def _gain(self, one: OneFold, other: OneFold, fold: int) -> tuple[float, float]:
        """By how much the other is better, and the standard error of that, in pairs."""
        measure, held = self.context.target.measure, self.folds.rows[self.folds.parts(fold)[1]]
        gap = other.outcomes.minus(one.outcomes, measure.name, self.context.groups(held), draws=DRAWS)
        return measure.worth(gap.value), gap.se

    def judged(self, number: int, fold: int) -> OneFold | None:
        """One fit with this setting on all folds but this; None as `fitted`."""
        found = self.fitted(number, self.folds.parts(fold)[0], f"f{fold}", 1.0)
        return None if found is None else self.on_fold(found, fold)

    def on_fold(self, found: Fitted, fold: int) -> OneFold:
        """What a network that was fitted without this fold answers to it."""
        context, (others, held) = self.context, self.folds.parts(fold)
        rows = self.folds.rows[held]
        seen = context.see(found.encoder, rows)
        raws = {OWN: seen.answers(found.head)}
        if self.probing:
            raws[PROBE] = seen.answers(self.probe(found, others))
        return OneFold(found, raws, context.judged.judge(raws[OWN], context.truth(rows), context.groups(rows)))

    def probe(self, found: Fitted, at: NDArray[np.int64]) -> Readout:
        """The target's probe on a fitted encoder, from the labels at these places."""
        context, rows = self.context, self.folds.rows[at]
        seen, sights = context.see(found.encoder, rows), (found.head.sight,)
        return context.judged.probe(seen, context.truth(rows), context.groups(rows), sights)

    def last(self, number: int) -> Fitted | None:
        """The fit with this setting to all labels; None as `fitted`."""
        return self.fitted(number, self.folds.everything, "all", LAST)

    def fitted(self, number: int, at: NDArray[np.int64], name: str, weight: float) -> Fitted | None:
        """One fit on the labels at these places; None if it was stopped, diverged, or there was no time.

        None also from nothing where it did not see each label once: it has not been trained.
        """
        rows, head = self.folds.rows[at], None
        if self.seen is not None:
            context = self.context
            if name not in self.heads:
                self.heads[name] = context.judged.probe(self.seen[at], context.truth(rows), context.groups(rows))
            head = self.heads[name]
        part = min(1.0, weight / max(weight, self.left))
        kept = self.terms.without(self.spent).keeping(self._after() * max(0.0, self.left - 1))
        terms = kept.share(f"{name}-s{number}-p{self.passes:.0f}", part, part)
        self.left -= weight
        self.made += 1
        try:
            found = fit(self.context, rows, self.start(), self.settings[number], terms, head, self.passes)
        except Diverged as fault:
            log.warning("training on labels at a rate of %g: %s", self.settings[number].lr, fault)
            return None
        if found is not None:
            self.spent, self.images = self.spent + found.seconds, self.images + found.images
            if self.seen is None and found.passes < ONCE:
                log.info("training on the labels alone saw %.0f %% of them: that is none", 100 * found.passes)
                return None
        return found

    def _after(self) -> float:
        """Seconds that follow each fit: what was reckoned, and no less than it was for those that were made."""
        left = self.terms.left
        if left is None or self.whole is None or not self.made:
            return self.after
        return max(self.after, (self.whole - left - self.spent) / self.made)


def first_passes(labels: int) -> float:
    """Passes over so many labels with which training on them begins where there is a limit."""
    return min(max(baselines.LABEL_PASSES, FIRST_STEPS * batch_of(labels) / labels), most_passes())


def most_passes() -> float:
    """Passes over labels beyond which no training goes."""
    return baselines.NIGHT * baselines.LABEL_PASSES


def least_images(context: Context, labels: int) -> float:
    """How many images the shortest fit sees that one to all labels may follow."""
    return min(context.judged.least_passes * labels, LEAST_IMAGES)


def one_fit(context: Context, labels: int, cost: str) -> tuple[float, float]:
    """Seconds of the shortest fit that one to all labels may follow, and of what comes after each."""
    costs = context.state("costs")
    embed = float((costs.get("embed_tuned") if cost == "given" else 0.0) or costs.get("embed", 0.0))
    settled, views = min(SETTLING[0] * SETTLING[1], len(context.final_pool)), VIEWS if context.plan.turned else 1
    # norms are settled, images embedded
    return least_images(context, labels) * float(costs.get(cost, costs["supervised"])), embed * (
        settled + views * labels
    )


def affordable(seconds: float | None, least: float, settings: int, folds: int, averaged: bool) -> Scheme:
    """What there is time for where so many folds can be judged; no setting is compared where none can be.

    A fit that another to all labels follows takes at least so many seconds; weights of several may be `averaged` where
    that pays. With less there is one fit: while images are few, more of them are worth more than the last third of the
    labels (docs/decisions.md).
    """
    if not folds:
        return Scheme(0, 0)
    counts = range(settings, 0, -1)
    several = [Scheme(count, folds, averaged=True) for count in counts if averaged and count > 1]
    for scheme in (*several, *(Scheme(count, folds) for count in counts), Scheme(1, 1)):
        each = least * (AVERAGED if scheme.averaged else 1)
        if seconds is None or seconds >= each * scheme.fits:
            return scheme
    return Scheme(1, 1, last=False)
