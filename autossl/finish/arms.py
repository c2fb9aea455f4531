"""The arms of a study: ways to a model, judged on patients that their fits have not seen, before anything is tested."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.finish.baselines import Effort
from autossl.finish.folds import Folds
from autossl.model.entrants import DISTILLED, ENTRANTS, MEAN, SOUPS, TUNED, WEIGHTS_MEAN, WEIGHTS_TUNED
from autossl.nn.encoder import Encoder
from autossl.proxies import Outcomes
from autossl.targets import Judged, Readout, Seen
from autossl.trials.context import Context

log = logging.getLogger("autossl")

Ints = NDArray[np.int64]

DRAWS = 400
TIE = 0.1  # standard errors of a difference below which two arms are as good: a whole one cost .013 on blood cells


@dataclass(frozen=True, eq=False)
class Arm:
    """One way to a model: a network with its readout, fitted to all labels outside the test part.

    `outcomes` are those of the judged images, each predicted by a fit without its fold; None where there are none.
    `raws` are the answers to each judged fold, where outcomes do not hold them and they can be averaged.
    Where there are `members`, their answers are averaged, and network and readout are those of the first. `soft` are
    raw answers to every image outside the test part by fits without each judged fold, and at last by one to all labels.
    """

    name: str  # a key of ENTRANTS
    encoder: Encoder
    head: Readout
    outcomes: Outcomes | None
    effort: Effort | None = None  # of an arm that was trained on labels
    seen: Seen | None = None  # of one that was not: what its head was fitted on
    members: "tuple[Arm, ...]" = ()
    soft: tuple[NDArray[Any], ...] = ()
    raws: tuple[NDArray[Any], ...] = ()


def frozen(context: Context, name: str, encoder: Encoder, folds: Folds) -> Arm:
    """An encoder as it is, with the target's probe on what of it the fitted labels say is best."""
    target, seen, tried = context.judged, context.see(encoder, folds.rows), context.judged.sights(context.plan.turned)
    truth, groups = context.truth(folds.rows), context.groups(folds.rows)
    for sight in reversed(tried):  # two stages first: one pass serves both
        if not sight.maps:
            seen.at(sight)

    def answers() -> Iterator[NDArray[Any]]:
        for judged in folds.judged:
            others, held = folds.parts(judged)
            head = target.probe(seen[others], truth[others], groups[others], tried)
            yield seen[held].answers(head)

    raws = tuple(answers())
    outcomes, head = folds.outcomes(iter(raws)), target.probe(seen, truth, groups, tried)
    log.info("%s: %s", ENTRANTS[name].words, head.told(encoder.dims))
    return Arm(name, encoder, head, outcomes, seen=seen, raws=raws if target.blends else ())


def alike(arms: Sequence[Arm]) -> list[Arm]:
    """The arms that were judged, on the images that all of them were judged on.

    Those are of the first folds: a network that there was no time to fit twice is judged on one.
    """
    judged = [(arm, arm.outcomes) for arm in arms if arm.outcomes is not None]
    n = min((outcomes.n for _, outcomes in judged), default=0)
    return [arm if outcomes.n == n else replace(arm, outcomes=outcomes.first(n)) for arm, outcomes in judged]


def together(context: Context, arms: Sequence[Arm], folds: Folds) -> list[Arm]:
    """The mean of the answers of the best fine-tuned network and of the one that was trained on the labels alone.

    They began apart and err apart. Where that one was not judged, or is worse than the best frozen arm by more than a
    standard error in pairs over patients, that arm takes its place; none where there are no two.
    """
    measure, metric = context.target.measure, context.target.metric
    judged = alike(arms)
    tuned, apart, still = (
        max((arm for arm in judged if arm.name in names), key=lambda arm: _of(arm).worth(metric), default=None)
        for names in ({TUNED, WEIGHTS_TUNED, *SOUPS.values(), DISTILLED}, {"supervised"}, {"winner", "weights"})
    )
    if apart is not None and still is not None:
        gap = _of(still).minus(_of(apart), metric, folds.groups[: _of(still).n], draws=DRAWS)
        apart = still if measure.worth(gap.value) > gap.se else apart
    other = apart or still
    if tuned is None or other is None:
        return []
    members = (tuned, other)
    own = all(arm.name.startswith("weights") for arm in members)
    outcomes = _joint(context.judged, members, folds)
    if outcomes is None:
        return []
    return [Arm(WEIGHTS_MEAN if own else MEAN, tuned.encoder, tuned.head, outcomes, members=members)]


def _joint(target: Judged, members: Sequence[Arm], folds: Folds) -> Outcomes | None:
    """What the mean of their answers comes to; None where these are not at hand, or have no mean."""
    if target.mixes:
        return target.together([_of(arm) for arm in members])
    if not target.blends or not all(arm.raws for arm in members):
        return None
    count = min(len(arm.raws) for arm in members)  # of judged folds, see `alike`
    answers = zip(*(arm.raws[:count] for arm in members), strict=True)
    return folds.first(count).outcomes(target.mean(each) for each in answers)


def choose(context: Context, arms: Sequence[Arm], folds: Folds) -> tuple[Arm, str]:
    """The best arm on the judged images and why, in words; `arms` begin with the simplest.

    A mean of the answers of two networks is taken unless it is worse than the best by more than a standard error, in
    pairs, for two that began apart seldom err alike. Else the best is taken, and of arms that are as good to TIE of
    that error the simplest.
    """
    judged = alike(arms)
    if len(judged) < 2:
        return (judged or list(arms))[0], "nothing else could be judged" if len(arms) > 1 else "there was no other"
    metric, measure = context.target.metric, context.target.measure
    best = max(judged, key=lambda arm: _of(arm).worth(metric))
    groups = folds.groups[: _of(best).n]
    gaps = [_of(best).minus(_of(arm), metric, groups, draws=DRAWS) for arm in judged]
    near = [pair for pair in zip(judged, gaps, strict=True) if measure.worth(pair[1].value) <= TIE * pair[1].se]
    arm, gap = near[0] if near else (best, gaps[judged.index(best)])  # none where the metric is not defined
    joint = [pair for pair in zip(judged, gaps, strict=True) if pair[0].members]
    if joint and not measure.worth(joint[-1][1].value) > joint[-1][1].se:
        arm, gap = joint[-1]
    own = measure.text(_of(arm).value(metric))
    if arm is best:
        return arm, f"it has the best {measure.words} on folds of the labels, {own}"
    said = f"on folds of the labels it has {measure.one} of {own}"
    error, top = measure.text(gap.se), measure.text(_of(best).value(metric))
    if arm.members:
        return arm, f"{said}, within a standard error ({error}) of the best, {top}, and two networks err less than one"
    return arm, f"{said}, as good as the best, {top} (a standard error is {error}), which is less simple"


def _of(arm: Arm) -> Outcomes:
    assert arm.outcomes is not None
    return arm.outcomes
