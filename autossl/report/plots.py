"""Figures of a study for Optuna's dashboard, as Plotly reads them: plain values, with ids that stay the same."""

from typing import Any

from optuna.trial import FrozenTrial

from autossl.record.entries import Entry
from autossl.record.journal import entries
from autossl.report.charts import COLOURS
from autossl.report.facts import Found

SYMBOLS = dict(zip(COLOURS, ("circle", "square", "diamond", "triangle-up", "x"), strict=True))
Plot = dict[str, Any]


def figures(found: Found) -> dict[str, Plot]:
    """Scores by method, the rung ladder, label-free against labelled scores, time against score; by id."""
    scored = [entry for entry in entries(found.trials) if entry.state == "scored"]
    if not scored:
        return {}
    trials = {trial.number: trial for trial in found.trials}
    value = found.target.scored
    drawn = {
        "scores-by-method": _figure("Scores by method and paradigm", "method", value, _by(scored, _method)),
        "rung-ladder": _figure("Rung ladder", "rung", value, _ladder(scored), dtick=1),
        "time-against-score": _figure("Time against score", "minutes since the first segment", value,
                                      _by(scored, lambda entry: _minutes(trials, entry))),
    }  # fmt: skip
    free = [entry for entry in scored if isinstance(trials[entry.number].user_attrs.get("rankme"), float)]
    if free:
        traces = _by(free, lambda entry: trials[entry.number].user_attrs["rankme"])
        drawn["label-free-against-score"] = _figure(
            "RankMe, which sees no label, against the score", "RankMe", value, traces
        )
    return drawn


def _figure(title: str, x: str, y: str, traces: list[Plot], **axis: Any) -> Plot:
    layout = {"title": {"text": title}, "xaxis": {"title": {"text": x}, **axis}, "yaxis": {"title": {"text": y}}}
    return {"data": traces, "layout": layout}


def _by(scored: list[Entry], at: Any) -> list[Plot]:
    """A dot for each segment, in the colour and shape of its paradigm; larger at a higher rung."""
    traces = []
    for paradigm in [name for name in COLOURS if any(entry.paradigm == name for entry in scored)]:
        own = [entry for entry in scored if entry.paradigm == paradigm]
        traces.append({
            "type": "scatter", "mode": "markers", "name": paradigm,
            "x": [at(entry) for entry in own], "y": [entry.score for entry in own],
            "error_y": {"type": "data", "array": [entry.se or 0.0 for entry in own], "thickness": 1},
            "text": [_words(entry) for entry in own],
            "marker": {"color": COLOURS[paradigm], "symbol": SYMBOLS[paradigm], "size": [8 + 4 * e.rung for e in own]},
        })  # fmt: skip
    return traces


def _ladder(scored: list[Entry]) -> list[Plot]:
    """A line for each candidate over the rungs that it reached."""
    traces = []
    for number in dict.fromkeys(entry.candidate for entry in scored):
        own = sorted((entry for entry in scored if entry.candidate == number), key=lambda entry: entry.rung)
        style = {"color": COLOURS.get(own[0].paradigm, COLOURS["baseline"])}
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": f"{number} {own[0].method}", "line": style,
            "x": [entry.rung for entry in own], "y": [entry.score for entry in own],
            "text": [_words(entry) for entry in own],
        })  # fmt: skip
    return traces


def _method(entry: Entry) -> str:
    return entry.method


def _words(entry: Entry) -> str:
    return f"candidate {entry.candidate}, {entry.method}, rung {entry.rung}, trial {entry.number}"


def _minutes(trials: dict[int, FrozenTrial], entry: Entry) -> float | None:
    """When a segment ended, in minutes since the first began."""
    began = min(trial.datetime_start for trial in trials.values() if trial.datetime_start is not None)
    end = trials[entry.number].datetime_complete
    return None if end is None else round((end - began).total_seconds() / 60, 2)
