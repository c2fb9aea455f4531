"""Adapting the winner to its target: a probe on the frozen encoder, or both fine-tuned on the labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.finish.baselines import Fitted, fit
from autossl.nn.encoder import Encoder
from autossl.proxies import Difference
from autossl.targets import Judged, Readout
from autossl.train.resumable import Terms
from autossl.trials.context import PROBE, SELECTION, Context

FINETUNE = (3e-4, 0.6, 0.1)  # learning rate, smallest crop and jitter of a fine-tune
TRIAL = 0.5  # share of the time that goes to trying a fine-tune on the probe part before it is decided for

NO_TIME = "no time was left to fine-tune"


@dataclass(frozen=True)
class Adapted:
    """The encoder and head for the target, which adaptation it is and why; `tuned` is False where both are as given."""

    encoder: Encoder
    head: Readout
    tuned: bool
    facts: dict[str, Any]


def adapt(context: Context, encoder: Encoder, head: Readout, terms: Terms, say: Callable[[str], None]) -> Adapted:
    """Adapt `encoder`, whose probe is `head`, on these terms as the study's settings say.

    A fine-tune that a stop cuts short is dropped. The one that is tried has its own checkpoint beside `terms.path`.

    Where they leave it open, a fine-tune on the probe part is compared with a probe on the selection part first, and
    the better of the two is taken.
    """
    spent = 0.0
    chosen, why = context.judged.adaptation(
        context.config.adaptation, len(context.rows(PROBE, SELECTION, labelled=True))
    )
    facts: dict[str, Any] = {"chosen": "frozen", "why": why}
    if chosen == "frozen":
        return Adapted(encoder, head, False, facts)
    if terms.left == 0:
        return Adapted(encoder, head, False, {**facts, "why": NO_TIME})
    if chosen == "auto":
        say("trying a fine-tune on the selection part")
        gap, scores, spent = _tried(context, encoder, terms.share("tried", TRIAL, TRIAL))
        facts = {**facts, **scores, "why": _decided(context.judged, gap, scores)}
        if gap is None or gap.value <= 0:
            return Adapted(encoder, head, False, facts)
    say("fine-tuning on the labels")
    tuned = _tuned(context, encoder, head, context.rows(PROBE, SELECTION, labelled=True), terms.without(spent))
    if tuned is None:
        return Adapted(encoder, head, False, {**facts, "why": NO_TIME})
    return Adapted(tuned.encoder, tuned.head, True, {**facts, "chosen": "finetune"})


def _tried(context: Context, encoder: Encoder, terms: Terms) -> tuple[Difference | None, dict[str, float], float]:
    """Fine-tuned minus frozen on the selection part, both fitted on the probe part, the score of each, and seconds."""
    rows, judged = context.rows(PROBE, labelled=True), context.rows(SELECTION, labelled=True)
    target, patients = context.judged, context.groups(judged)
    head = target.probe(context.see(encoder, rows), context.truth(rows), context.groups(rows))
    frozen = context.outcomes(context.see(encoder, judged), head, judged)
    tuned = _tuned(context, encoder, head, rows, terms)
    if tuned is None:
        return None, {}, 0.0
    finetuned = context.outcomes(context.see(tuned.encoder, judged), tuned.head, judged)
    gap = finetuned.minus(frozen, target.metric, patients, draws=400)
    scores = {"frozen": frozen.value(target.metric), "finetuned": finetuned.value(target.metric), "se": gap.se}
    return gap, scores, tuned.seconds


def _decided(target: Judged, gap: Difference | None, scores: dict[str, float]) -> str:
    """Why, in words."""
    if gap is None:
        return NO_TIME
    text = target.measure.text
    return (
        f"on the selection part fine-tuning scored {text(scores['finetuned'])} and a probe on the frozen encoder "
        f"{text(scores['frozen'])} (the difference is known to ± {text(gap.se)})"
    )


def _tuned(context: Context, encoder: Encoder, head: Readout, rows: NDArray[np.int64], terms: Terms) -> Fitted | None:
    """A copy of the encoder and its head, trained on these labels; None without time for it."""
    copy = context.new_encoder(0)
    copy.load_state_dict(encoder.state_dict())
    return fit(context, rows, copy, FINETUNE, terms, head)
