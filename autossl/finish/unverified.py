"""The end of a study without labels: the first candidate that did not break down is trained on and exported untested.

There is no choice by scores, no baseline, no test and no `model/`: nothing could tell what is good.
"""

import logging
from typing import Any

from autossl.finish.finalists import none_scored
from autossl.finish.steps import Steps
from autossl.finish.winner import train_winner
from autossl.finish.written import described, write
from autossl.nn.encoder import Encoder
from autossl.record.entries import Entry
from autossl.record.journal import entries
from autossl.trials.segments import leave_nothing
from autossl.trials.standing import finalists

log = logging.getLogger("autossl")


def end_unverified(steps: Steps) -> None:
    """All steps in order; what an earlier run has done is not done again."""
    context = steps.context
    ranked = finalists(entries(context.study.get_trials(deepcopy=False)), most=context.plan.max_candidates or 1)
    if not ranked:
        raise none_scored(context)
    if not context.state("tested"):
        encoder, final = train_winner(steps, ranked[0], {}, lambda _, after: _healthy(steps, after))
        result = {
            "candidate": described(context, ranked[0]),
            "others": _others(ranked),
            "unit": context.data.unit,
            "final_training": final,
            "stopped": steps.stopped,
        }
        write(context, encoder, context.folder.encoder, result)
        context.remember(result=result, tested=True)
    leave_nothing(context)
    context.remember(finished=True)


def _healthy(steps: Steps, encoder: Encoder) -> dict[str, Any]:
    """A final training is kept unless its encoder has collapsed."""
    why = steps.context.score(encoder).collapsed
    if why:
        log.info("the final training broke down and is not kept: %s", why)
    return {"kept": False, "why": why} if why else {"kept": True}


def _others(ranked: list[Entry]) -> list[dict[str, Any]]:
    """The first candidate of each other paradigm: nothing says that the winner is better."""
    first: dict[str, Entry] = {}
    for entry in ranked:
        first.setdefault(entry.paradigm, entry)
    return [
        {"number": entry.candidate, "method": entry.method, "paradigm": entry.paradigm}
        for entry in first.values()
        if entry is not ranked[0] and entry.paradigm != ranked[0].paradigm
    ]
