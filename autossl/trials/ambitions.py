"""What a plan hopes for, level by level: the first that fits the time limit is taken."""

from typing import NamedTuple

from autossl.trials.sizing import Needs


class Ambition(NamedTuple):
    """One level of what a study hopes for; supervised, finetune and final are shares of the limit."""

    finalists: int
    replicates: int
    supervised: float
    finetune: float
    final: float
    candidates: int  # fewer than these: planned away to the next level


AMBITIONS = (  # what goes first: replicates, finalists, rungs, shares of what follows the search, methods
    Ambition(3, 2, 0.06, 0.12, 0.55, 27),
    Ambition(3, 1, 0.06, 0.12, 0.55, 22),
    Ambition(3, 0, 0.10, 0.14, 0.52, 18),
    Ambition(2, 0, 0.10, 0.14, 0.52, 8),
    Ambition(1, 0, 0.10, 0.14, 0.52, 6),
    Ambition(1, 0, 0.10, 0.14, 0.45, 4),
    Ambition(1, 0, 0.08, 0.10, 0.35, 4),
    Ambition(1, 0, 0.05, 0.06, 0.25, 4),
    Ambition(1, 0, 0.05, 0.00, 0.25, 4),
    Ambition(1, 0, 0.00, 0.00, 1 / 6, 3),
    Ambition(1, 0, 0.00, 0.00, 0.00, 2),
)
ALONE = (  # where no search fits
    Ambition(1, 0, 0.10, 0.14, 0.00, 1),
    Ambition(1, 0, 0.10, 0.00, 0.00, 1),
    Ambition(1, 0, 0.00, 0.00, 0.00, 1),
)
DECODED = (  # where what answers has to be learnt: training on labels stays longest, for it has won most often
    Ambition(3, 2, 0.12, 0.24, 0.37, 27),
    Ambition(3, 1, 0.12, 0.24, 0.37, 22),
    Ambition(3, 0, 0.20, 0.28, 0.28, 18),
    Ambition(2, 0, 0.20, 0.28, 0.28, 8),
    Ambition(1, 0, 0.20, 0.28, 0.28, 6),
    Ambition(1, 0, 0.20, 0.28, 0.20, 4),
    Ambition(1, 0, 0.20, 0.24, 0.10, 3),
    Ambition(1, 0, 0.20, 0.20, 0.05, 2),
)
DECODED_ALONE = (
    Ambition(1, 0, 0.20, 0.20, 0.05, 1),
    Ambition(1, 0, 0.20, 0.10, 0.00, 1),
    Ambition(1, 0, 0.20, 0.00, 0.00, 1),
    Ambition(1, 0, 0.00, 0.00, 0.00, 1),
)
LONG = 8 * 3600  # seconds of a limit from which on finalists get new training seeds
UNRANKED = (  # the same where nothing tells the better of two: upper rungs would not either
    Ambition(1, 0, 0.0, 0.0, 0.6, 8),
    Ambition(1, 0, 0.0, 0.0, 0.6, 4),
    Ambition(1, 0, 0.0, 0.0, 0.5, 2),
    Ambition(1, 0, 0.0, 0.0, 0.0, 1),
)
GIVEN = 0.14  # share of the limit at most in which given weights are fine-tuned as well
LEAST_FINAL = 0.05  # share of the final training where they take the rest


def hopes(limit: float, needs: Needs) -> list[Ambition]:
    """The levels of a study, the highest first."""
    if not needs.ranked:
        return list(UNRANKED)
    levels = DECODED if needs.decoded else AMBITIONS
    return [_of_use(level, limit, needs) for level in levels if limit >= LONG or not level.replicates]


def alone(limit: float, needs: Needs) -> list[Ambition]:
    """The levels below these, with one candidate."""
    return [_of_use(level, limit, needs) for level in (DECODED_ALONE if needs.decoded else ALONE)]


def _of_use(level: Ambition, limit: float, needs: Needs) -> Ambition:
    """The level with more for fine-tuning where there are given weights, and without what is less than a pass.

    The final training gives what these take, for all that follows has a better start then.
    """
    more = min(level.finetune, GIVEN) if needs.given and needs.finetune else 0.0
    if more:
        level = level._replace(finetune=level.finetune + more, final=max(LEAST_FINAL, level.final - more))
    costs, least = needs.costs, needs.fitted / limit
    return level._replace(
        supervised=level.supervised if level.supervised >= least * costs.supervised else 0.0,
        finetune=level.finetune if level.finetune >= least * costs.tuned else 0.0,
    )
