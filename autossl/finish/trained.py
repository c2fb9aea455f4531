"""Arms that are trained on labels: from scratch, or from an encoder and its probe; and the mean of their weights."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from autossl.finish.arms import Arm
from autossl.finish.baselines import Effort, Fitted
from autossl.finish.fits import OWN, PROBE, Fits, OneFold
from autossl.finish.folds import Folds
from autossl.finish.soup import soup
from autossl.model.entrants import SOUPS, TUNED, WEIGHTS_TUNED
from autossl.nn.encoder import Encoder
from autossl.proxies import Outcomes
from autossl.train.partial import ALL
from autossl.train.resumable import Terms
from autossl.trials.context import Context

Way = int | str  # the number of a setting, or MIXED
MIXED = "soup"
ENOUGH = 0.6  # of the passes of a fit without a fold that one to all labels has at the least to stand for it
COST = {TUNED: "tuned", WEIGHTS_TUNED: "given"}  # of an image, by arm


def trained(
    context: Context, name: str, start: Callable[[], Encoder], folds: Folds, terms: Terms, probed: bool,
    teaches: bool = False,
) -> list[Arm]:  # fmt: skip
    """Encoders that `start` makes and a readout, both trained on labels; `probed`: from the probe on the frozen one.

    Where there is time, the mean of the weights of such fits at several settings is an arm too. After a kill no fit is
    repeated that was whole. Empty where not one fit was: what was cut short would flatter what it is compared with.
    The first arm has soft answers where it `teaches`, those of the mean where there is one. Where there is time for
    one fit, the network that is judged is the one that is delivered, without a fold of the labels.
    """
    fits = Fits(context, start, folds, terms, probed, COST.get(name, "supervised"))
    if not fits.scheme.settings:
        return _made(name, fits.last(0), fits, 0)
    tried = fits.compared()
    if not tried:
        return []
    best = max(tried, key=lambda number: tried[number].outcomes.worth(context.target.metric))
    numbers = [best, *(number for number in tried if number != best)] if fits.scheme.averaged else [best]
    judged = fits.folds.judged
    answers = Answers(fits, teaches and judged == folds.judged)  # a student is judged on all folds
    for fold in judged:
        answers.add({n: tried[n] if fold == judged[0] else fits.judged(n, fold) for n in numbers}, fold)
    last = [fits.last(number) for number in numbers] if fits.spare(tried[best]) else [None]
    made = _made(name, _longer(last[0], tried[best].fitted), fits, best, answers, len(tried))
    whole = [found for found in last if found is not None]
    mixed = soup(context, whole) if len(whole) == len(numbers) > 1 else None
    if mixed is not None and answers.mixed:
        made += _made(SOUPS[name], mixed, fits, MIXED, answers, len(whole))
    return _teaching(made, answers, mixed or last[0])


def _longer(last: Fitted | None, first: Fitted) -> Fitted:
    """The fit to all labels; that of the first fold where time was over, a stop came, or little was left for it."""
    return last if last is not None and last.passes >= ENOUGH * first.passes else first


def _teaching(made: list[Arm], answers: "Answers", final: Fitted | None) -> list[Arm]:
    """The arms, the first with soft answers if all that it takes are there."""
    if final is None or len(answers.soft) < len(answers.fits.folds.judged) or not answers.teaches:
        return made
    return [replace(made[0], soft=(*answers.soft, answers.to_all(final))), *made[1:]]


class Answers:
    """Raw answers to the judged folds by ways and readouts, and of a teacher to every image outside the test part."""

    def __init__(self, fits: Fits, teaches: bool) -> None:
        self.fits, self.teaches = fits, teaches
        self.raws, self.soft = dict[tuple[Way, str], list[NDArray[Any]]](), list[NDArray[Any]]()

    def add(self, found: dict[Way, OneFold | None], fold: int) -> None:
        """Fits by setting, the best first, that have not seen this fold; their mean is added to them."""
        whole = [one.fitted for one in found.values() if one is not None]
        if len(whole) == len(found) > 1:
            found = {**found, MIXED: self.fits.on_fold(soup(self.fits.context, whole), fold)}
        for way, one in found.items():
            for readout, raw in ({} if one is None else one.raws).items():
                self.raws.setdefault((way, readout), []).append(raw)
        teacher = list(found.values())[-1]
        if self.teaches and teacher is not None:
            self.soft.append(self.to_all(teacher.fitted))

    def to_all(self, teacher: Fitted) -> NDArray[Any]:
        """What its own head answers to every image outside the test part."""
        context = self.fits.context
        seen = context.see(teacher.encoder, context.final_pool.rows)
        return teacher.head.answers(seen.pooled)

    @cached_property
    def outcomes(self) -> dict[tuple[Way, str], Outcomes]:
        """What each way and readout comes to that answered all judged folds; once all are added."""
        folds = self.fits.folds
        found = {key: folds.outcomes(iter(each)) for key, each in self.raws.items() if len(each) == len(folds.judged)}
        return {key: outcomes for key, outcomes in found.items() if outcomes is not None}

    def kept(self, key: tuple[Way, str]) -> tuple[NDArray[Any], ...]:
        """The raw answers of a way and readout to all judged folds, where a mean with others' takes them."""
        found = tuple(self.raws.get(key, ()))
        return found if self.fits.context.judged.blends and len(found) == len(self.fits.folds.judged) else ()

    @property
    def mixed(self) -> bool:
        """Whether the mean of weights was judged."""
        return any(way == MIXED for way, _ in self.outcomes)


def _made(
    name: str,
    final: Fitted | None,
    fits: Fits,
    way: Way,
    answers: "Answers | None" = None,
    tried: int = 0,
) -> list[Arm]:
    """The arm of a way with the better of its readouts; none where its last fit was none."""
    if final is None:
        return []
    own = {readout: found for (of, readout), found in (answers.outcomes if answers else {}).items() if of == way}
    metric = fits.context.target.metric
    readout = max(own, key=lambda key: (own[key].worth(metric), key == OWN), default=OWN)
    head = fits.probe(final, fits.folds.everything) if readout == PROBE else final.head
    settings = {"tried": float(tried)}
    if isinstance(way, int):
        settings |= fits.settings[way].numbers
    part = fits.settings[way].trained if isinstance(way, int) else ALL
    effort = Effort(settings, round(fits.spent, 2), final.passes, fits.images, readout, part, final.labels)
    raws = answers.kept((way, readout)) if answers else ()
    return [Arm(name, final.encoder, head, own.get(readout), effort, raws=raws)]
