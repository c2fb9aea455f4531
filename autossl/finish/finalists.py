"""The finalists of a study: scored on the selection part, with new training seeds as far as time allows."""

from dataclasses import dataclass

import numpy as np

from autossl.errors import NoCandidate
from autossl.finish.anneal import encoder_of, fresh_run
from autossl.finish.steps import Steps
from autossl.nn.encoder import Encoder
from autossl.proxies import Outcomes
from autossl.record.entries import Entry
from autossl.record.journal import entries
from autossl.train.resumable import Terms, Training
from autossl.trials.context import SELECTION, Context
from autossl.trials.segments import seconds_per
from autossl.trials.standing import finalists, order


@dataclass(frozen=True)
class Finalist:
    """A candidate at the end: its entry and its selection scores, one per training seed."""

    entry: Entry
    selection: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.selection))

    @property
    def name(self) -> str:
        """In the names of files and in what is written down."""
        return f"c{self.entry.candidate:04d}-r{self.entry.rung}"


def none_scored(context: Context) -> NoCandidate:
    """Why a study ends without a candidate, and what to do."""
    if context.folder.stop.exists():
        root = context.folder.root
        return NoCandidate(f"stopped before a candidate was scored; autossl resume {root} goes on with the search")
    return NoCandidate("no candidate could be used: every one failed or collapsed; see autossl leaderboard and the log")


def select(steps: Steps) -> Finalist:
    """The best finalist on the selection part; each score is written down when it is there."""
    context, plan = steps.context, steps.context.plan
    everything = entries(context.study.get_trials(deepcopy=False))
    stored = {(f["candidate"], f["rung"]): tuple(f["selection"]) for f in context.state("finalists") or ()}
    if stored:  # in their order: the first of equals wins
        known = [e for e in order(everything) if (e.candidate, e.rung) in stored]
        return max((Finalist(e, stored[e.candidate, e.rung]) for e in known), key=lambda f: f.mean)
    chosen = finalists(everything, plan.finalists)
    if not chosen:
        raise none_scored(context)
    steps.say("scoring the finalists on the selection part")
    found: list[Finalist] = []
    for entry in chosen:
        if found and steps.left("finalist") == 0:
            break
        found.append(_scored(steps, Finalist(entry, ())))
    for number in range(1, plan.replicates + 1):
        found = [_replicated(steps, finalist, number) for finalist in found]
    facts = [
        {"candidate": f.entry.candidate, "method": f.entry.method, "rung": f.entry.rung, "selection": f.selection}
        for f in found
    ]
    context.remember(finalists=facts)
    return max(found, key=lambda f: f.mean)


def _scored(steps: Steps, finalist: Finalist) -> Finalist:
    """A finalist with the selection scores that are known, at least its first."""
    known = (steps.context.state("scored") or {}).get(finalist.name)
    if known:
        return Finalist(finalist.entry, tuple(known))
    return _noted(steps, finalist, encoder_of(steps.context, finalist.entry, steps.late))


def _noted(steps: Steps, finalist: Finalist, encoder: Encoder) -> Finalist:
    """A finalist with one more selection score, which is written down."""
    found = Finalist(finalist.entry, (*finalist.selection, selection_score(steps.context, encoder)))
    steps.context.remember(scored={**(steps.context.state("scored") or {}), found.name: found.selection})
    return found


def _replicated(steps: Steps, finalist: Finalist, number: int) -> Finalist:
    """Train a finalist once more from another seed and add its selection score, if there is time."""
    context, entry = steps.context, finalist.entry
    if len(finalist.selection) > number:  # in an earlier run
        return finalist
    images = context.plan.rungs[entry.rung]
    run = fresh_run(context, entry, seed_shift=1000 * number)
    training = Training(run, steps.checkpoint(f"replicate-{finalist.name}-{number}"))
    cost = seconds_per(context.study.get_trials(deepcopy=False), context)
    seconds = steps.left("replicate", cost(entry.method, max(0, images - run.images)))
    if seconds == 0:
        return finalist
    steps.say(f"candidate {entry.candidate} again with another training seed")
    if not training.to(images, Terms(rest=seconds, stopped=steps.over)):
        return finalist
    found = _noted(steps, finalist, context.averaged(run))
    training.forget()
    return found


def selection_score(context: Context, encoder: Encoder) -> float:
    """The study's metric on the selection part, fitted on the probe part."""
    return selection_outcomes(context, encoder).value(context.target.metric)


def selection_outcomes(context: Context, encoder: Encoder) -> Outcomes:
    """What the probe of the aligned score, fitted on the probe part, says of the selection part's labelled images."""
    fit_rows, rows = context.scored_rows, context.rows(SELECTION, labelled=True)
    seen, new = context.see(encoder, fit_rows), context.see(encoder, rows)
    raw = context.judged.transfer(seen, context.truth(fit_rows), context.groups(fit_rows), new)
    return context.judged.judge(raw, context.truth(rows), context.groups(rows))
