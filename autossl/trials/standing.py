"""Which candidates lead, and which of them a study ends with, from its trials alone."""

from collections.abc import Sequence

from autossl.record.entries import Entry

VOID = frozenset({"double", "out of time"})  # failures that say nothing about a candidate
CUT_OFF = ("out of time", "lost")  # why a segment ended that says nothing of its candidate


def order(entries: Sequence[Entry]) -> list[Entry]:
    """One entry per candidate, its highest scored rung; best first by rung, then by score."""
    highest: dict[int, Entry] = {}
    for entry in sorted(entries, key=lambda e: (e.rung, e.number)):
        if entry.state == "scored":
            highest[entry.candidate] = entry
    return sorted(highest.values(), key=lambda e: (-e.rung, -e.value, e.candidate))


def finalists(entries: Sequence[Entry], most: int) -> list[Entry]:
    """The first of the order; candidates that broke down on a higher rung only where there are no others."""
    broken = {e.candidate for e in entries if e.state == "failed" and e.reason not in VOID | {"lost"}}
    ranked = order(entries)
    return ([e for e in ranked if e.candidate not in broken] or ranked)[:most]


def best(entries: Sequence[Entry]) -> Entry | None:
    """The first finalist; None if nothing was scored."""
    return next(iter(finalists(entries, 1)), None)
