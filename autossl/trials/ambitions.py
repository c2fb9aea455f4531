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


ALONE = Ambition(1, 0, 0.00, 0.00, 0.00, 1)  # where not even two candidates fit
LONG = 8 * 3600  # seconds of a limit from which on finalists get new training seeds
UNRANKED = (  # the same where nothing tells the better of two: upper rungs would not either
    Ambition(1, 0, 0.0, 0.0, 0.6, 8),
    Ambition(1, 0, 0.0, 0.0, 0.6, 4),
    Ambition(1, 0, 0.0, 0.0, 0.5, 2),
    Ambition(1, 0, 0.0, 0.0, 0.0, 1),
)
LEAST_FINAL = 0.05  # share of the final training where labels take the rest


def to_labels(level: Ambition, needs: Needs) -> Ambition:
    """The level with the shares that training on labels needs, which the final training gives.

    With given weights twice as much is fine-tuned, and all that follows has a better start; where what answers has to
    be learnt, both fine-tuning and training on the labels alone take as much again.
    """
    finetune = (1 + needs.given + needs.decoded) * level.finetune
    supervised = (1 + needs.decoded) * level.supervised
    taken = finetune - level.finetune + supervised - level.supervised
    if not taken:
        return level
    return level._replace(finetune=finetune, supervised=supervised, final=max(LEAST_FINAL, level.final - taken))
