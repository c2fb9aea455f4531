"""Scores on the test part with bootstrap intervals over patients."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.nn.encoder import Encoder
from autossl.proxies import Outcomes
from autossl.targets import Readout, Seen
from autossl.trials.context import PROBE, SELECTION, TEST, Context

Told = Callable[[NDArray[np.int64]], NDArray[Any]]  # places among the images of the test part -> raw answers


@dataclass(frozen=True)
class Entrant:
    """A network in the test: with its own head, or to be fitted with the target's probe on the pooled embedding.

    `fitted` are the images that a head in closed form was fitted on, as the network sees them. Where there are
    `members`, entrants before it, its answers are the mean of theirs.
    """

    name: str
    encoder: Encoder
    head: Readout | None = None
    fitted: Seen | None = None
    members: "tuple[Entrant, ...]" = ()

    @property
    def frozen(self) -> bool:
        """Whether its head is a probe, which others on fewer labels can be compared with."""
        return not self.members and (self.head is None or self.fitted is not None)


@dataclass
class Outcome:
    """What the test gave: facts for people, and what later steps need."""

    facts: dict[str, Any] = field(default_factory=lambda: {"entrants": {}, "differences": {}})
    heads: dict[str, Readout] = field(default_factory=dict)
    fitted: dict[str, Seen] = field(default_factory=dict)  # the labelled images outside the test
    seen: dict[str, Seen] = field(default_factory=dict)  # the test part
    told: dict[str, Told] = field(default_factory=dict)  # raw answers of networks that were tested in this run
    outcomes: dict[str, Outcomes] = field(default_factory=dict)

    def add(self, context: Context, entrant: Entrant) -> None:
        """Test one more network on the same images."""
        rows, fit_rows = context.rows(TEST, labelled=True), context.rows(PROBE, SELECTION, labelled=True)
        if entrant.members:
            self._record(context, entrant.name, self._joint(context, entrant), rows)
            return
        seen, head = context.see(entrant.encoder, rows), entrant.head
        if entrant.frozen:
            self.fitted[entrant.name] = fitted = entrant.fitted or context.see(entrant.encoder, fit_rows)
            head = head or context.judged.probe(fitted, context.truth(fit_rows), context.groups(fit_rows))
        assert head is not None
        self.heads[entrant.name], self.seen[entrant.name] = head, seen
        self.told[entrant.name] = partial(_told, seen, head)
        self._record(context, entrant.name, context.outcomes(seen, head, rows), rows)

    def _joint(self, context: Context, entrant: Entrant) -> Outcomes:
        """What the mean of the answers of its members comes to; they answer again where outcomes do not hold that."""
        target, rows = context.judged, context.rows(TEST, labelled=True)
        if target.mixes:
            return target.together([self.outcomes[member.name] for member in entrant.members])
        for member in entrant.members:
            if member.name not in self.told:  # tested before a kill
                assert member.head is not None
                self.told[member.name] = partial(_told, context.see(member.encoder, rows), member.head)
        told = [self.told[member.name] for member in entrant.members]
        self.told[entrant.name] = lambda at: target.mean([each(at) for each in told])
        return target.judge(self.told[entrant.name](np.arange(len(rows))), context.truth(rows), context.groups(rows))

    def _record(self, context: Context, name: str, found: Outcomes, rows: NDArray[np.int64]) -> None:
        target, groups = context.judged, context.groups(rows)
        if few := target.few(context.truth(rows), groups, context.data.unit, "the test part"):
            self.facts["few"] = few  # no interval is worth showing
        intervals = {} if "few" in self.facts else found.intervals(target.reported, groups)
        self.facts["entrants"][name] = {
            **{metric: round(found.value(metric), 5) for metric in target.reported},
            "interval": {metric: [round(end, 5) for end in ends] for metric, ends in intervals.items()},
        }
        self.outcomes[name] = found
        if name != "winner":
            self.facts["differences"][name] = self._gap("winner", name, context, groups)

    def chosen(self, context: Context, name: str) -> None:
        """Compare what `model/` holds with everything else, in pairs."""
        groups = context.groups(context.rows(TEST, labelled=True))
        others = [other for other in self.outcomes if other != name]
        self.facts["chosen"] = name
        self.facts["chosen_differences"] = {other: self._gap(name, other, context, groups) for other in others}

    def _gap(self, a: str, b: str, context: Context, groups: NDArray[np.int64]) -> dict[str, float]:
        """Metric of a minus metric of b on the same patients, with its 95 % interval where there can be one."""
        gap = self.outcomes[a].minus(self.outcomes[b], context.target.metric, groups)
        if "few" in self.facts:
            return {"value": round(gap.value, 5)}
        return {"value": round(gap.value, 5), "low": round(gap.low, 5), "high": round(gap.high, 5)}


def _told(seen: Seen, head: Readout, at: NDArray[np.int64]) -> NDArray[Any]:
    return seen[at].answers(head)
