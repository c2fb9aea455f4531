"""What Optuna's dashboard says in words: of a study the first screen of its report, of a trial why it went on."""

from typing import Any

from autossl.model.entrants import NAMES, measure
from autossl.record.entries import Entry
from autossl.record.journal import entries
from autossl.report.facts import Found
from autossl.report.in_markdown import in_markdown
from autossl.report.leaderboard import with_error
from autossl.report.sentence import short
from autossl.report.verdict import chosen, verdict
from autossl.trials.standing import CUT_OFF, order

FAILED = {"nan": "its loss was no number", "collapsed": "its embeddings collapsed"}


def of_study(found: Found) -> str:
    """The answer, the networks of the test, and the families, as Markdown."""
    result, test = found.result, (found.result or {}).get("test")
    answer = verdict(result) if result else None
    facts: dict[str, Any] = {
        "name": found.data.get("name") or found.config.study_name,
        "task": found.config.task,
        "stage": found.state.get("stage", "starting"),
        "first": short(result, answer.kind) if result and answer and test else "",
        "verdict": answer.first if answer else "",
        "test": test,
        "chosen": chosen(test) if test else ("", {}),
        "measure": measure(test) if test else None,
        "names": NAMES,
        "families": _families(found),
        "scored": found.target.scored,
    }
    return in_markdown(facts, "note.md.j2")


def _families(found: Found) -> list[dict[str, Any]]:
    """For each paradigm: candidates that were tried, the highest rung reached, and the best score there."""
    rows = [row for row in found.rows if row["paradigm"] != "baseline"]
    tried = {entry.candidate: entry.paradigm for entry in entries(found.trials) if entry.reason != "double"}
    families = []
    for paradigm in dict.fromkeys(tried.values()):
        own = [row for row in rows if row["paradigm"] == paradigm]  # best first
        families.append({
            "name": paradigm,
            "tried": sum(each == paradigm for each in tried.values()),
            "rung": own[0]["rung"] if own else "",
            "best": f"{own[0]['method']} {with_error(own[0]['score'], own[0]['se'])}" if own else "",
        })  # fmt: skip
    return families


def of_trial(entry: Entry, known: list[Entry]) -> str:
    """What this segment was, and why its candidate was kept or stopped, in Markdown; `known` are all of the study."""
    drawn = "drawn by TPE" if entry.prior_index is None else f"its prior configuration {entry.prior_index}"
    what = f"**Candidate {entry.candidate}**, {entry.method} ({entry.paradigm}), rung {entry.rung}; {drawn}."
    return f"{what}\n\n{_why(entry, known)}"


def _why(entry: Entry, known: list[Entry]) -> str:
    if entry.live:
        return "It is at work." if entry.state == "running" else "It waits for a worker."
    if entry.state == "failed":
        return _failed(entry)
    here = sorted((e for e in known if e.state == "scored" and e.rung == entry.rung), key=lambda e: -e.value)
    place = next(at for at, e in enumerate(here, 1) if e.number == entry.number)
    stands = f"place {place} of {len(here)} at rung {entry.rung} with {with_error(entry.score, entry.se)}"
    later = [e for e in known if e.candidate == entry.candidate and e.rung > entry.rung]
    if later:
        return f"Kept: {stands}; trained on in trial {later[0].number}."
    leader = order(known)[0]
    if leader.number == entry.number:
        return f"It leads: {stands}, and no candidate has climbed higher."
    return f"Not trained on: {stands}."


def _failed(entry: Entry) -> str:
    if entry.reason == "double":
        return "Nothing was done here: another trial has the same segment."
    if entry.reason in CUT_OFF:
        return f"Cut off ({entry.reason}), which says nothing of the candidate."
    return f"Given up: {FAILED.get(entry.reason, entry.reason or 'the reason is not known')}."
