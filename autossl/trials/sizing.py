"""Sizing: how many candidates and how long rungs a search time allows, and which methods are tried first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autossl.nn.sight import VIEWS
from autossl.trials.costs import Costs

ETA = 3  # successive halving keeps one of so many
MIN_RUNG = 1536  # images of the first rung at least: six batches of 256
LEAST_BATCHES = 6  # the same in batches; rungs are whole batches
PER_CANDIDATE = 9  # with more time, both the number of candidates (in so many least rungs) and the first rung grow
LONGEST_FIRST = (96, 20)  # batches, or epochs of the pool if that is more: the first rung never exceeds it
MOST_RUNGS = 6
CLIMB = 0.6  # of the search time at most for one candidate's way to the top rung
PRIORS = 1 / 3  # of the search time for the first prior of each method
FOLDS = 3  # in which ways to a model are judged
MANY_LABELS = (
    3000  # from which on one fold is judged: it holds a thousand, and each further one costs a fit of each way
)
SIGHTS = 2  # of each frozen encoder: one stage or two
TURNING = 0.06  # of the limit: if all views of the labelled images cost more, probes look at images as they are
NUMBERS = tuple(sorted({round(1.06**k) for k in range(119)} - {0}, reverse=True))  # of candidates, 1 to about 970
BREADTH = range(12, 18)  # so many candidates at two rungs are better than fewer, where a third rung does not fit


class Method(NamedTuple):
    """One row of the methods, which come in the order of the task and modality prior."""

    name: str
    paradigm: str
    priors: int = 1  # prior configurations in the search space
    per_image: float = 2.0  # price of one training image: encoder passes, or seconds once planned; only compared
    late: bool = False  # whether others are to be tried before it, whatever it costs


@dataclass(frozen=True)
class Needs:
    """What a plan must provide for."""

    costs: Costs
    methods: tuple[Method, ...]
    pool: int  # pretraining images of the search
    images: int  # all images that are embedded at the end
    labelled: int  # labelled images outside the test part
    max_candidates: int | None = None
    workers: int = 1
    baselines: int = 2  # encoders tested beside the winner: untrained, supervised, the user's weights
    finetune: bool = False
    given: bool = False  # whether there are given weights, which are fine-tuned as well
    decoded: bool = False  # whether what answers has to be learnt, so that more time goes to training on labels
    frozen: int = 1  # encoders whose probes are judged on folds of the labels
    turned: bool = False  # whether flips and turns of images tell nothing, so that probes may average over them
    longest: int | None = None  # images of the first rung at most, where time sets it
    least: int = MIN_RUNG  # images of the first rung at least; fewer of volumes
    ranked: bool = True  # whether scores rank candidates; else few are tried, and as much as can be trains the first

    @property
    def step(self) -> int:
        """What rungs are multiples of."""
        return self.least // LEAST_BATCHES

    @property
    def probes(self) -> int:
        """How many probes are fitted to judge frozen encoders."""
        fits = 0 if not self.labelled else 2 if self.labelled >= MANY_LABELS else 1 + FOLDS
        return self.frozen * fits

    @property
    def fitted(self) -> float:
        """How many labels a network sees where a fold of them judges it."""
        return self.labelled * (1 - 1 / FOLDS)

    @property
    def short(self) -> float:
        """Seconds of the shortest training on the labels alone; 0 where it would not see each of them once."""
        return self.least * self.costs.supervised if self.fitted <= self.least else 0.0

    def turns(self, limit: float | None) -> bool:
        """Whether the limit has time for all views of what frozen encoders are fitted to and tested on."""
        return self.turned and (limit is None or self._turning <= TURNING * limit)

    def judging(self, limit: float | None) -> float:
        """Seconds to judge frozen encoders on folds of the labels, beside one pass over the images of each."""
        turns, sights = self.turns(limit), 0 if self.decoded else SIGHTS  # maps are seen in one way
        probe = self.costs.probe + sights * (1 + turns) * self.costs.sight
        return self.probes * probe + turns * self._turning

    @property
    def testing(self) -> float:
        """Seconds to test every encoder but those that are fine-tuned on images as they are."""
        given = self.given * (self.costs.embed_given * self.images + self.costs.evaluate)
        return (1 + self.baselines - self.given) * self.costs.encoder(self.images) + given

    @property
    def testing_tuned(self) -> float:
        """The same for those that are fine-tuned."""
        given = self.given * (self.costs.embed_tuned * self.images + self.costs.evaluate)
        return self.costs.encoder(self.images) + given if self.finetune else 0.0

    @property
    def _turning(self) -> float:
        own = (self.frozen - self.given + 1 + self.finetune) * self.costs.embed  # 1: training on the labels
        given = self.costs.embed_given + self.finetune * self.costs.embed_tuned if self.given else 0.0
        return VIEWS * self.images * (own + given)

    @property
    def paradigms(self) -> int:
        """How many paradigms the methods belong to."""
        return len({row.paradigm for row in self.methods})

    @property
    def table(self) -> tuple[Method, ...]:
        """The methods with their seconds per image."""
        return tuple(row._replace(per_image=self.costs.image(row.name)) for row in self.methods)

    @property
    def longest_first(self) -> int:
        """Images of the first rung at most."""
        batches, epochs = LONGEST_FIRST
        longest = max(batches * self.step, epochs * self.pool)
        return longest if self.longest is None else min(longest, self.longest)

    def images_within(self, seconds: float, names: Sequence[str]) -> float:
        """Images after which one segment of each of these methods takes so many seconds."""
        return (seconds - len(names) * self.costs.score) / sum(map(self.costs.image, names))

    def others(self, names: Sequence[str]) -> tuple[str, ...]:
        """The methods that are not among `names`."""
        return tuple(row.name for row in self.methods if row.name not in names)

    def mean(self, names: Sequence[str]) -> float:
        """Mean seconds per image of these methods."""
        return sum(map(self.costs.image, names)) / len(names)

    def order(self, rows: Sequence[Method], candidates: int) -> tuple[str, ...]:
        """Names of these methods in the order of trying, with time for so many candidates."""
        if self.ranked:
            return order(rows, candidates if candidates < 4 else None)
        return order(rows, cheapest=False)[:candidates]

    def rungs(self, candidates: int) -> int:
        """How many rungs so many candidates can fill."""
        return depth(candidates) if self.ranked else 1


SAME_PARADIGM = 2  # candidates of one paradigm at most where scores do not rank


class Ladder(NamedTuple):
    """Rungs, and how many candidates they were sized for."""

    rungs: tuple[int, ...]
    candidates: int
    answered: bool = False  # of a study that goes on: two paradigms were scored at one rung


def depth(candidates: int) -> int:
    """How many rungs so many candidates can fill: several of them should reach the top."""
    if candidates < 12:
        return 1 if candidates < 8 else 2
    rungs = 3
    while rungs < MOST_RUNGS and candidates >= ETA ** (rungs + 1):
        rungs += 1
    return rungs


SIZES = (  # what is tried in turn: candidates and rungs
    *((number, depth(number)) for number in NUMBERS if number >= BREADTH.start),
    *((number, 2) for number in NUMBERS if number in BREADTH),
    *((number, depth(number)) for number in NUMBERS if number < BREADTH.start),
)


def climb(first: int, rungs: int) -> tuple[int, ...]:
    """Images of so many rungs from the first one on."""
    return tuple(first * ETA**k for k in range(rungs))


def foremost(methods: Sequence[Method]) -> tuple[Method, ...]:
    """The first methods of each paradigm, with one prior each: all that is tried where scores do not rank."""
    taken: list[Method] = []
    for row in methods:
        if sum(other.paradigm == row.paradigm for other in taken) < SAME_PARADIGM:
            taken.append(row._replace(priors=1))
    return tuple(taken)


def order(methods: Sequence[Method], paradigms: int | None = None, cheapest: bool = True) -> tuple[str, ...]:
    """Names in the order of trying: one method of each paradigm first, the `cheapest` of them first, then the others.

    With `paradigms` time is short: only the cheapest method of each of the so many cheapest paradigms.
    """
    leaders: dict[str, Method] = {}
    for row in methods if paradigms is None else sorted(methods, key=lambda row: (row.late, row.per_image)):
        leaders.setdefault(row.paradigm, row)
    led = sorted(leaders.values(), key=lambda row: (row.late, row.per_image if cheapest else 0))
    first = [row.name for row in led]
    if paradigms is not None:
        return tuple(first[:paradigms])
    return tuple(first + [row.name for row in methods if row.name not in first])


def ladder(seconds: float, needs: Needs, names: Sequence[str], known: Ladder | None = None) -> Ladder | None:
    """The most candidates, and their rungs, for which `seconds` of search are enough; None if not even for one.

    With `known` its rungs stay and its candidates are there already; rungs above may come, and if it is answered no
    further candidate need fit.
    """
    most = needs.max_candidates or NUMBERS[0]
    easiest = needs.rungs(1) if known is None else len(known.rungs)
    if seconds <= 0 or _first(seconds, needs, names, 1, easiest) < needs.least:
        return known if known is not None and known.answered else None
    if known is not None:
        for number in (number for number in NUMBERS if number <= most):
            if _first(seconds, needs, names, number, len(known.rungs)) >= known.rungs[0]:
                return _higher(seconds, needs, names, known._replace(candidates=known.candidates + number))
        return known if known.answered else None
    for number, rungs in SIZES if needs.ranked else tuple((number, 1) for number in NUMBERS):
        if number <= most and _first(seconds, needs, names, number, rungs) >= _wanted(needs, names, number):
            return _low_enough(seconds, needs, names, number, rungs)
    return None


def _low_enough(seconds: float, needs: Needs, names: Sequence[str], number: int, rungs: int) -> Ladder:
    """Rungs that a candidate can climb in the time there is, however many workers share the rest."""
    while True:
        first = needs.step * int(_first(seconds, needs, names, number, rungs) / needs.step)
        found = climb(first, rungs)
        if rungs == 1 or _way(needs, names, found) <= CLIMB * seconds:
            return Ladder(found, number)
        rungs -= 1


def _higher(seconds: float, needs: Needs, names: Sequence[str], known: Ladder) -> Ladder:
    """Known rungs, and those above that the candidates can fill by now."""
    rungs = climb(known.rungs[0], needs.rungs(known.candidates))
    while len(rungs) > len(known.rungs) and _way(needs, names, rungs) > CLIMB * seconds:
        rungs = rungs[:-1]
    return known._replace(rungs=max(known.rungs, rungs, key=len))


def _first(seconds: float, needs: Needs, names: Sequence[str], number: int, rungs: int) -> float:
    """Images of the first rung when so many candidates share the time of all workers, or one has that of its own."""
    segments = [float(number)]
    if rungs > 1:  # one of ETA goes up, and the best prior of each paradigm, half of which would have gone up anyway
        segments.append(number / ETA + needs.paradigms / 2)
    segments += [segments[-1] / float(ETA) ** k for k in range(1, rungs - 1)]
    trained = sum(count * (images - below) for count, images, below in zip(segments, *_spans(rungs), strict=True))
    shared = (seconds * needs.workers - sum(segments) * needs.costs.score) / trained
    alone = seconds - needs.costs.score
    return min(min(shared, alone) / needs.mean(names[:number]), needs.longest_first)


def _spans(rungs: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where segments end and begin, in first rungs."""
    ends = climb(1, rungs)
    return ends, (0, *ends[:-1])


def _wanted(needs: Needs, names: Sequence[str], number: int) -> float:
    """Images that the first rung should have with so many candidates: training should not cost less than scoring."""
    wanted = max(needs.least, needs.least / PER_CANDIDATE * number)
    if number > 8:
        wanted = max(wanted, needs.costs.score / needs.mean(names[:number]))
    return min(wanted, needs.longest_first)


def _way(needs: Needs, names: Sequence[str], rungs: Sequence[int]) -> float:
    """Seconds of one candidate from its start to the top rung."""
    return needs.mean(names) * rungs[-1] + len(rungs) * needs.costs.score


def tried_first(names: Sequence[str], first: int, seconds: float, most: int, needs: Needs) -> tuple[str, ...]:
    """The methods whose first priors fit a third of the search time; at least one per paradigm."""
    chosen: list[str] = []
    spent = 0.0
    for name in names[:most]:
        spent += needs.costs.segment(name, first)
        if len(chosen) >= needs.paradigms and spent > PRIORS * seconds * needs.workers:
            break
        chosen.append(name)
    return tuple(chosen)
