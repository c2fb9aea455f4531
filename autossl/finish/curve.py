"""The curve over numbers of labels: probes on frozen encoders, and training from scratch, on drawn whole patients."""

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth import Truth
from autossl.data.withhold import LEAST, TooFew, whole_groups
from autossl.finish.baselines import Effort, fit, untrained
from autossl.finish.steps import Steps
from autossl.finish.tested import Outcome
from autossl.train.loop import SETTLING, Diverged
from autossl.train.resumable import Terms
from autossl.trials.context import PROBE, SELECTION, TEST, Context
from autossl.trials.plan import Step

Ints = NDArray[np.int64]

STEP: Step = "label curve"
NUMBERS = (10, 30, 100, 300, 1000, 3000, 10_000)  # of labels
DRAWS = 3  # of labels per point
MANY = 1000  # labels of a point from which on one draw will do: they differ little, and cost most
LEAST_PASSES = 0.5  # of the baseline's over its labels; a point with fewer is left out, it would flatter the others
EMBEDDED = 0.5  # of what an image costs in training: at most what it costs where it is only embedded


def label_curve(steps: Steps, outcome: Outcome, baseline: Effort | None) -> list[dict[str, Any]]:
    """Test score over numbers of labels: of the probe on every encoder that was fitted, and of the baseline's training.

    Each point of a probe is the mean over a few draws with their standard deviation, or one draw; each of the
    baseline one training. The last points, of all labels, are the test itself. Where time runs out it ends early.
    """
    drawn, names = _draws(steps.context), [name for name in outcome.fitted if name != "supervised, frozen"]
    points = _frozen(steps, outcome, names, drawn)
    if baseline is not None and baseline.passes:
        points += _from_scratch(steps, baseline, [draws[0] for draws in drawn])
        names.append("supervised")
    if not points:
        return []
    metric, labels = steps.context.target.metric, outcome.facts["labels"]
    own = {"supervised": baseline.labels} if baseline is not None else {}  # fewer where there was time for one fit
    return points + [_point(own.get(name) or labels, name, [outcome.facts["entrants"][name][metric]]) for name in names]


def _point(labels: float, name: str, values: list[float]) -> dict[str, Any]:
    mean, sd = float(np.mean(values)), float(np.std(values))
    return {"labels": round(labels), "name": name, "mean": mean, "sd": sd, "draws": len(values)}


def _draws(context: Context) -> list[list[Ints]]:
    """Places of the labels outside the test part that are drawn, several times for each number of them."""
    rows = context.rows(PROBE, SELECTION, labelled=True)
    truth, groups = context.truth(rows), context.groups(rows)
    found: list[list[Ints]] = []
    for number in [n for n in NUMBERS if n < len(rows)]:
        seeds = [[context.seed, number, draw] for draw in range(DRAWS if number < MANY else 1)]
        draws = [draw_labels(truth, groups, number, seed) for seed in seeds]
        found += [draws] if all(len(places) for places in draws) else []
    return found


def draw_labels(truth: Truth, groups: Ints, wanted: int, seed: list[int]) -> Ints:
    """Places of about `wanted` labels of whole groups (n,), as a study with so many `--max-labels` has them.

    Strata are drawn in proportion, two groups of each at least, or one of each where two hold more labels. Where strata
    are soft and one of each holds more, groups are drawn alike. Empty where even that holds more than `wanted`.
    """
    alike = [(np.minimum(truth.strata, 0), 1)] if truth.soft else []
    for strata, least in [(truth.strata, LEAST), (truth.strata, 1), *alike]:
        random = np.random.default_rng(seed)
        with suppress(TooFew):
            return np.flatnonzero(whole_groups(strata, groups, len(truth.names), wanted, random, least))
    return np.empty(0, np.int64)


def _frozen(steps: Steps, outcome: Outcome, names: list[str], drawn: list[list[Ints]]) -> list[dict[str, Any]]:
    context, target = steps.context, steps.context.judged
    fit_rows, rows = context.rows(PROBE, SELECTION, labelled=True), context.rows(TEST, labelled=True)
    truth, groups = context.truth(fit_rows), context.groups(fit_rows)
    points: list[dict[str, Any]] = []
    for draws in drawn:
        for name in names:
            values, sight = [], outcome.heads[name].sight
            for places in draws:
                if steps.left(STEP) == 0:
                    return points
                head = target.probe(outcome.fitted[name][places], truth[places], groups[places], (sight,))
                values.append(context.outcomes(outcome.seen[name], head, rows).value(target.metric))
            points.append(_point(float(np.mean([len(places) for places in draws])), name, values))
    return points


def _from_scratch(steps: Steps, baseline: Effort, drawn: list[Ints]) -> list[dict[str, Any]]:
    """The baseline's training on these labels with the setting that it chose, as many passes, from few to many."""
    context = steps.context
    fit_rows, rows = context.rows(PROBE, SELECTION, labelled=True), context.rows(TEST, labelled=True)
    points: list[dict[str, Any]] = []
    for at, places in enumerate(drawn):
        embedded = SETTLING[0] * min(SETTLING[1], len(context.final_pool)) + len(rows)
        seconds = granted(steps.left(STEP), [len(later) for later in drawn[at:]], baseline, embedded)
        if seconds == 0:
            break
        terms = Terms(seconds, stopped=steps.over)
        try:
            found = fit(context, fit_rows[places], untrained(context), baseline.setting, terms, passes=baseline.passes)
        except Diverged:
            continue
        if found is None or found.images < LEAST_PASSES * baseline.passes * len(places):
            break
        value = context.outcomes(context.see(found.encoder, rows), found.head, rows).value(context.target.metric)
        points.append(_point(len(places), "supervised", [value]))
    return points


def granted(left: float | None, numbers: list[int], baseline: Effort, embedded: int) -> float | None:
    """Seconds for training on the first of these numbers of labels; None: no limit, 0: there is no time for it.

    As many of them as get LEAST_PASSES, from the first on, share what is left by their labels, once each has what it
    takes to embed so many images after it: norms are settled, and it is tested. An image is taken to cost what it did
    in the baseline's training.
    """
    if left is None:
        return None
    for most in range(len(numbers), 0, -1):
        each = (left - most * after_training(baseline, embedded)) / sum(numbers[:most])
        if each >= LEAST_PASSES * baseline.passes * baseline.pace:
            return each * numbers[0]
    return 0.0


def after_training(baseline: Effort, embedded: int) -> float:
    """What it takes after a training to embed so many images."""
    return EMBEDDED * baseline.pace * embedded
