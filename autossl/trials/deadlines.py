"""How long the steps of a plan may take, asked at any moment of a study, and whether its end still fits."""

import math

from autossl.errors import UserError
from autossl.trials.plan import RESTART, Plan, Step

MOST = 2.5  # times its own share that fine-tuning may take of what other steps left: after it nothing needs much


def hard_end(limit: float) -> float:
    """When a study is over at the very latest: 3 % after its limit, at least 10 s."""
    return max(1.03 * limit, limit + 10)


def left(plan: Plan, step: Step, now: float, needed: float = 0.0) -> float | None:
    """Seconds that a step may take from `now`, 0.0 if it must be left out; None without a limit.

    What follows the step is reserved. With `needed` (seconds) a step that would be cut short is left out.
    """
    if not plan.until:
        return None
    seconds = plan.until[step] - now
    if step == "supervised":  # every study has one short run, if need be at the cost of the final training
        spare = plan.until["final training"] - plan.finalist_seconds - now
        seconds = min(plan.supervised_seconds, max(seconds, min(plan.supervised_least, spare)))
    elif step == "finalist":
        needed = max(needed, plan.finalist_seconds)
    elif step == "finetune":
        seconds = min(seconds, MOST * plan.finetune_seconds)
    return seconds if seconds > max(needed, 0.0) else 0.0


def ensure_time(plan: Plan, now: float, needed: float | None = None) -> None:
    """Refuse to take up a study whose end no longer fits; UserError says how much time to add.

    `needed`: seconds of what remains to be done, start-up over; None: all that follows the search at the least.
    """
    if plan.limit is None:
        return
    seconds = plan.limit - plan.until["rescue"] if needed is None else needed
    if now + seconds <= hard_end(plan.limit):
        return
    more = 10 * math.ceil((now + 1.3 * seconds + RESTART - plan.limit) / 10)
    raise UserError(
        f"{seconds:.0f}s were wanted for evaluation, export and report, found {max(0.0, plan.limit - now):.0f}s left "
        f"of --time-limit {plan.limit:g}s; resume with --time-limit +{more}s"
    )
