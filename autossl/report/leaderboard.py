"""The leaderboard: one row per candidate at its highest rung, baselines beside them."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from autossl.errors.printable import one_line
from autossl.record.entries import METHOD, Entry
from autossl.record.journal import entries
from autossl.record.offered import task as offered
from autossl.record.offered import tasks
from autossl.trials.standing import order

FIRST, LAST = ("candidate", "method", "paradigm", "rung", "score", "se"), ("seconds", "shortcut", "hyperparameters")
HEADINGS = {key: heading for target in tasks().values() for key, heading in target.headings.items()}
SCORED = "aligned score"
RANKED = 100  # labels of the probe part from which on the order of candidates says something


def rows(
    trials: list[FrozenTrial], state: dict[str, Any] | None = None, task: str = "classification"
) -> list[dict[str, Any]]:
    """Leaderboard rows, best first: by rung, then by aligned score. Baselines come last; they are no candidates.

    `state` is what the controller wrote down. Training on the labels has no aligned score, which would be one of the
    labels it was trained on: it is compared on the selection and test parts. The proxies are those of the task.
    """
    by_number, shown = {t.number: t for t in trials}, offered(task).shown
    everything = entries(trials)
    spent: dict[int, float] = {}
    for e in everything:
        spent[e.candidate] = spent.get(e.candidate, 0.0) + e.seconds
    candidates = [_row(e, by_number[e.number], spent[e.candidate], shown) for e in order(everything)]
    state = state or {}
    supervised = (state.get("arms") or {}).get("supervised") or state.get("supervised")  # of before there were arms
    baselines = {**(state.get("baselines") or {}), "supervised": supervised}
    return candidates + [_baseline(name, found, shown) for name, found in baselines.items() if found]


def _row(entry: Entry, trial: FrozenTrial, seconds: float, shown: Sequence[str]) -> dict[str, Any]:
    drawn = {k.split(".", 1)[1]: v for k, v in trial.params.items() if k != METHOD}
    return {
        "candidate": entry.candidate,
        "method": entry.method,
        "paradigm": entry.paradigm,
        "rung": entry.rung,
        "score": entry.score,
        "se": entry.se,
        **{name: trial.user_attrs.get(name) for name in shown},
        "seconds": round(seconds, 1),
        "shortcut": trial.user_attrs.get("shortcut"),
        "hyperparameters": drawn,
    }


def _baseline(name: str, found: dict[str, Any], shown: Sequence[str]) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys((*FIRST, *shown, *LAST))
    known = {k: found.get(k) for k in ("score", "se", *shown, "seconds")}
    return {**empty, **known, "candidate": name, "method": name, "paradigm": "baseline", "hyperparameters": {}}


def as_csv(found: Sequence[dict[str, Any]]) -> str:
    """The rows as CSV."""
    out = io.StringIO()
    columns = list(found[0]) if found else [*FIRST, *LAST]
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    for row in found:
        plain = {name: one_line(value) if isinstance(value, str) else value for name, value in row.items()}
        writer.writerow({**plain, "hyperparameters": json.dumps(row["hyperparameters"])})
    return out.getvalue()


def shortcuts(found: Sequence[dict[str, Any]]) -> list[str]:
    """One sentence for each candidate whose pretext task was solved suspiciously early."""
    return [f"shortcut? candidate {r['candidate']} ({r['method']}): {r['shortcut']}" for r in found if r["shortcut"]]


def noisy(labels: int, candidates: int = 0) -> str:
    """What the order of candidates is worth with so many labels in the probe part; empty where it says something.

    Without labels it is no order.
    """
    if labels == 0 or labels >= RANKED:
        return ""
    best = f"the best of {candidates}" if candidates > 1 else "the best of many"
    return f"with {labels} labels the ranking of candidates is mostly noise: the leader's score is {best} and too high"


def as_table(
    found: Sequence[dict[str, Any]], title: str = "", most: int | None = None, note: str = "", scored: str = SCORED
) -> Table:
    """The rows as a table for a terminal, with a note below; it fits into 80 columns. `scored`: what a score is."""
    caption = Text("\n".join([*map(one_line, shortcuts(found[:most])), *([note] if note else [])]))
    table = Table(
        title=title or None, title_justify="left", header_style="bold", caption=caption or None, caption_justify="left",
        box=SIMPLE_HEAD, padding=0, pad_edge=False,
    )  # fmt: skip
    shown = {key: heading for key, heading in HEADINGS.items() if found and key in found[0]}
    for name in ("", "method", "paradigm", "rung", scored, *shown.values(), "s"):
        words = name in ("method", "paradigm")
        table.add_column(name, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for row in found[:most]:
        score = with_error(row["score"], row["se"])
        side = [short(row[name]) for name in shown]
        rung = "" if row["rung"] is None else str(row["rung"])
        number = str(row["candidate"]) if row["paradigm"] != "baseline" else "-"
        method = f"{row['method']} (shortcut?)" if row["shortcut"] else row["method"]
        paradigm = row["paradigm"].split()[-1]  # "non-contrastive and predictive" in one word
        cells = (number, method, paradigm, rung, score, *side, short(row["seconds"]))
        table.add_row(*(Text(one_line(cell)) for cell in cells))  # a text as it is: brackets in names are no markup
    return table


def with_error(score: float | None, se: float | None) -> str:
    """A score with its standard error, where it has one: .812 ± .010."""
    return f"{short(score)} ± {short(se)}" if se else short(score)


def short(value: float | None) -> str:
    """A number as tables have room for it; nothing where there is none."""
    if value is None:
        return ""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 2 else f"{value:.0f}"
