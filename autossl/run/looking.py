"""Starts, looked at as they are before anything is trained: each scored in several ways, the best exported at once."""

import logging
import math
import re
import time
from dataclasses import dataclass
from typing import Any

from autossl.errors import UserError
from autossl.errors.printable import one_line
from autossl.finish.baselines import UNTRAINED_SEED
from autossl.finish.written import write
from autossl.nn.encoder import Encoder
from autossl.targets import Score
from autossl.trials.context import Context
from autossl.trials.starts import SMALL, Start, at_random, ways

log = logging.getLogger("autossl")

SHARE = 0.1  # of the time limit at most, for all given weights together
TIMED = 8  # images that are embedded to see how long all would take


@dataclass(frozen=True, eq=False)
class Looked:
    """One way to feed one start, its score, and the seconds that took; `encoder` as it was scored."""

    name: str
    start: Start
    encoder: Encoder
    score: Score
    seconds: float

    @property
    def row(self) -> dict[str, Any]:
        """What the leaderboard shows of it."""
        return {"score": self.score.value, "se": self.score.se, **self.score.proxies, "seconds": self.seconds}


def look(context: Context, limit: float | None, spare: float | None = None) -> dict[str, Any]:
    """Score every start, and say which given one leads, fed in which way: facts for the study's state.

    The given ones share a small part of the `limit` (seconds), and half at most of what is to `spare` beside what a
    study needs; what would take longer is not looked at, and said.
    """
    start = at_random(context.config)
    random = _score(context, "untrained", start, context.encoder(start, UNTRAINED_SEED).eval())
    rows = {random.name: random.row}
    leader, others = random, list[Looked]()
    until = None if limit is None else time.monotonic() + min(SHARE * limit, math.inf if spare is None else spare / 2)
    places = range(len(context.config.given))
    for place in places:
        share = None if until is None else (until - time.monotonic()) / (len(places) - place)
        found = _looked(context, place, share)
        rows |= {each.name: each.row for each in found}
        if not found:
            continue
        chosen = max(found, key=lambda each: each.score.value)
        _exported(context, chosen)
        if leader is random or (context.target.ranks and chosen.score.value > leader.score.value):
            leader, others = chosen, found
    begins = leader is not random and _leads(context, leader, random)
    ways = sorted(others, key=lambda each: -each.score.value)
    starts = {
        "given": None if leader is random else leader.start.to_dict(),
        "ways": [each.start.to_dict() for each in ways],
    }
    return {"baselines": rows, "starts": {**starts, "begins": begins}}


def _leads(context: Context, leader: Looked, random: Looked) -> bool:
    """Whether candidates should begin from given weights: as asked for, or where they score above random ones."""
    worse = context.target.ranks and leader.score.value < random.score.value
    if context.config.start == "weights" and worse:
        log.warning("the given weights score below no training at all here; with --start random candidates leave them")
    return context.config.start == "weights" or (context.config.start == "auto" and not worse)


def _looked(context: Context, place: int, seconds: float | None) -> list[Looked]:
    """The ways to feed these weights that there is time for, the cheapest first."""
    began, found = time.monotonic(), list[Looked]()
    for start in _tried(context, place):
        name = one_line(start.words(context.config.image_size))
        try:
            encoder = context.encoder(start, UNTRAINED_SEED).eval()
        except UserError as fault:
            if context.config.weights != ("auto",):
                raise
            log.info("%s: left out, %s", name, fault)
            continue
        if seconds is not None and _embedding(context, encoder) > seconds - (time.monotonic() - began):
            log.info("%s: not looked at, it would take too long", name)
            break
        found.append(_score(context, name, start, encoder))
    return found


def _tried(context: Context, place: int) -> list[Start]:
    """All ways to feed these weights; where scores do not rank one of them, in which images are large enough."""
    found = list(ways(context.config, context.channels, place))
    if context.target.ranks:
        return found
    least = found[0].upsample
    large = max(least, round(SMALL / context.config.image_size))
    return [each for each in found if each.upsample in (least, large)][-1:]


def _embedding(context: Context, encoder: Encoder) -> float:
    """About how many seconds embedding the scored images takes."""
    rows = context.scored_rows
    context.embed(encoder, rows[:TIMED])
    began = time.monotonic()
    context.embed(encoder, rows[:TIMED])
    return (time.monotonic() - began) / min(TIMED, len(rows)) * len(rows)


def _score(context: Context, name: str, start: Start, encoder: Encoder) -> Looked:
    """Also said in the log and in the study's attributes; starts are no trials."""
    began = time.monotonic()
    score = context.score(encoder)
    context.study.set_user_attr(f"baseline {name}", round(score.value, 4))
    log.info("%s as it is: %s", name, context.target.line(score))
    return Looked(name, start, encoder, score, round(time.monotonic() - began, 3))


def _exported(context: Context, found: Looked) -> None:
    """Weights as they are, fed in the way that suits the data: an answer before anything is trained."""
    path = context.folder.starts / re.sub(r"[^A-Za-z0-9_.-]+", "-", found.start.name)
    context.folder.starts.mkdir(exist_ok=True)
    facts = {"stage": "as it was given", "aligned_score": found.score.value, "se": found.score.se}
    write(context, found.encoder, path, facts, start=found.start)
