"""A study and its leaderboard as notebooks show them: HTML that takes the page's colours, and a data frame."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autossl.errors import UserError
from autossl.model.entrants import measure
from autossl.proxies import Metric
from autossl.record.clock import in_words
from autossl.report.facts import Found
from autossl.report.html import rendered
from autossl.report.leaderboard import HEADINGS, SCORED, short, with_error
from autossl.report.summary import summary

if TYPE_CHECKING:
    import pandas

MOST = 5  # candidates that a study shows while nothing is tested


class Leaderboard(list[dict[str, Any]]):
    """The rows of a leaderboard; `scored` is what their scores are, `caution` what their order is worth."""

    def __init__(self, rows: Sequence[dict[str, Any]] = (), scored: str = SCORED, caution: str = "") -> None:
        super().__init__(rows)
        self.scored, self.caution = scored, caution

    def to_pandas(self) -> "pandas.DataFrame":
        """A data frame, a row for each, what was drawn as a dict in one column. UserError without pandas."""
        try:
            import pandas  # no dependency: who wants data frames has it
        except ImportError:
            raise UserError("pandas was wanted for a data frame, found it not installed; pip install pandas") from None
        return pandas.DataFrame(list(self))

    def _repr_html_(self) -> str:
        return _drawn(board=self)


def study(found: Found) -> str:
    """The answer of a study, the scores of what was tested or of what leads, and where the report is."""
    facts = summary(found)
    report = found.folder.report
    return _drawn(
        facts=facts,
        arms=[arm_in_words(measure(found.result["test"]), arm) for arm in facts["arms"]] if found.result else [],
        board=None if facts["arms"] else Leaderboard(found.rows[:MOST], found.target.scored, found.caution),
        report=os.path.relpath(report) if report.is_file() else "",
    )


def arm_in_words(metric: Metric, arm: dict[str, Any]) -> dict[str, Any]:
    """A network of the test (`summary.tested`) as people read it: its score and what the delivered one is better by."""
    gap = arm["better by"] or {}
    return {
        "words": arm["words"],
        "delivered": arm["delivered"],
        "score": metric.text(arm["score"]) + _between(metric, arm["interval"]),
        "better by": metric.text(gap["value"], signed=True) + _between(metric, _ends(gap), signed=True) if gap else "",
    }


def _ends(gap: dict[str, float]) -> list[float] | None:
    return [gap["low"], gap["high"]] if "low" in gap else None


def _between(metric: Metric, ends: Sequence[float] | None, signed: bool = False) -> str:
    return f" [{', '.join(metric.text(end, signed) for end in ends)}]" if ends else ""


def _drawn(**facts: Any) -> str:
    """The template of notebooks with these facts; what they do not name is left out."""
    known: dict[str, Any] = {
        "facts": None,
        "arms": [],
        "board": None,
        "report": "",
        "headings": HEADINGS,
        "with_error": with_error,
    }
    return rendered("notebook.html.j2", {**known, **facts}, short=short, duration=in_words)
