"""Studies side by side: answers, what was tested, plans, data, winners; as a table for a terminal and as one page."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from autossl.errors.printable import one_line
from autossl.model.entrants import ENTRANTS, NAMES
from autossl.proxies import METRICS
from autossl.record.clock import in_words
from autossl.record.folder import existing, replace_file
from autossl.report.facts import read
from autossl.report.html import rendered
from autossl.report.leaderboard import with_error
from autossl.report.notebook import arm_in_words
from autossl.report.summary import summary

Facts = dict[str, Any]
Row = tuple[str, list[str]]


def compared(paths: Sequence[str | Path]) -> dict[str, Facts]:
    """What `summary` says of each study, by the name of its folder; UserError where there is none."""
    folders = {folder.root.resolve(): folder.root for folder in map(existing, paths)}  # each once
    roots = list(folders.values())
    names = [root.resolve().name for root in roots]
    told = [name if names.count(name) == 1 else str(root) for name, root in zip(names, roots, strict=True)]
    return {name: summary(read(existing(root))) for name, root in zip(told, roots, strict=True)}


def doubts(found: dict[str, Facts]) -> list[str]:
    """Why scores of different studies may say nothing of one another; empty where they were tested alike."""
    studies = list(found.values())
    if len(studies) < 2:
        return []
    measured = {each["metric"] for each in studies}
    sentences = []
    if len({each["settings"]["task"] for each in studies}) > 1 or len(measured) > 1:
        sentences.append("They maximise different metrics: compare no scores.")
    tested = {(each["data"].get("fingerprint"), each["settings"]["seed"]) for each in studies if each["data"]}
    if len(tested) > 1:
        sentences.append(
            "Their data or seeds differ, so their test parts may: differences between studies are not paired."
        )
    elif any(each["arms"] for each in studies):
        sentences.append("They were tested on the same images, but differences between studies are not paired here.")
    return sentences


def rows(found: dict[str, Facts]) -> list[tuple[str, list[Row]]]:
    """Blocks of rows: a heading, then for each fact a name and what every study says of it."""
    studies = list(found.values())

    def each(how: Callable[[Facts], str]) -> list[str]:
        return [how(facts) for facts in studies]

    arms = [name for name in ENTRANTS if any(name == arm["name"] for one in studies for arm in one["arms"])]
    keys = dict.fromkeys(key for one in studies for key in (one["winner"] or {}).get("hyperparameters", ()))
    return [
        ("answer", [("", each(lambda one: one["answer"]["first"]))]),
        ("test", [(NAMES[name], each(partial(_arm, name=name))) for name in arms]),
        ("plan", [(words, each(how)) for words, how in PLAN.items()]),
        ("data", [(words, each(how)) for words, how in DATA.items()]),
        (
            "winner",
            [
                ("method", each(_winner)),
                *((key, each(partial(_drawn, key=key))) for key in keys),
            ],
        ),
        ("settings", _settings(studies)),
    ]


def _arm(one: Facts, name: str) -> str:
    found = next((arm for arm in one["arms"] if arm["name"] == name), None)
    if found is None:
        return ""
    return str(arm_in_words(METRICS[one["metric"]], found)["score"]) + (" *" if found["delivered"] else "")


def _winner(one: Facts) -> str:
    found = one["winner"]
    if found is None:
        return "none yet"
    return f"{found['method']} ({found['paradigm']}), {with_error(found['score'], found['se'])} at rung {found['rung']}"


def _drawn(one: Facts, key: str) -> str:
    value = (one["winner"] or {}).get("hyperparameters", {}).get(key)
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)


def _seconds(value: float | None) -> str:
    return in_words(value) if value else "none"


PLAN: dict[str, Callable[[Facts], str]] = {
    "time": lambda one: f"{in_words(one['plan']['used'])} of {_seconds(one['plan']['limit'])}",
    "candidates": lambda one: str(one["plan"]["started"]),
    "rungs (images)": lambda one: ", ".join(f"{images:,}" for images in one["plan"]["rungs"] or ()),
    "final training": lambda one: _seconds(one["plan"]["final_seconds"]),
    "fine-tuning": lambda one: _seconds(one["plan"]["finetune_seconds"]),
}
DATA: dict[str, Callable[[Facts], str]] = {
    "set": lambda one: str(one["data"].get("name", "")),
    "images": lambda one: f"{one['data']['images']:,}" if one["data"] else "",
    "labels (probe / selection / test)": lambda one: " / ".join(
        f"{part['labels']:,}" for name, part in one["data"].get("parts", {}).items() if name != "dropped"
    ),
    "patients": lambda one: str(one["data"].get("patients") or "no ids"),
    "flaws": lambda one: (
        ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in one["data"].get("flaws", {}).items())
        or "none found"
    ),
}


def _settings(studies: Sequence[Facts]) -> list[Row]:
    """The settings in which they differ, and the weights they were given."""
    named = {key: [one["settings"][key] for one in studies] for key in studies[0]["settings"]}
    named["weights"] = [", ".join(one["weights"]) or "none" for one in studies]
    return [
        (key, ["" if value is None else str(value) for value in values])
        for key, values in named.items()
        if len(set(map(str, values))) > 1
    ]


def as_table(found: dict[str, Facts]) -> Table:
    """For a terminal: a column for each study; * marks what was delivered."""
    table = Table(box=SIMPLE_HEAD, expand=True, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("", ratio=1, overflow="fold")
    for name in found:
        table.add_column(Text(one_line(name)), ratio=2, overflow="fold")
    for heading, block in rows(found):
        if block and heading not in ("answer",):
            table.add_row(Text(heading, style="bold"), *[""] * len(found))
        for name, cells in block:
            table.add_row(Text(name or heading), *(Text(one_line(cell)) for cell in cells))
    return table


def write_page(found: dict[str, Facts], path: Path) -> Path:
    """The same as one HTML file without scripts or anything fetched, and return where it is."""
    kinds = [one["answer"]["kind"] for one in found.values()]
    facts = {"names": list(found), "kinds": kinds, "blocks": rows(found), "doubts": doubts(found)}
    text = rendered("compare.html.j2", {**facts, "chart": _chart(found)})
    replace_file(path, lambda file: file.write(text.encode()))
    return path


def _chart(found: dict[str, Facts]) -> str:
    """What was tested with its intervals, the studies one below the other for each network; empty without any."""
    from autossl.report import charts  # here, because a table needs no matplotlib

    dots = [
        charts.Interval(f"{NAMES[key]}: {name}", arm["score"], low, high, ENTRANTS[key].colour)
        for key in ENTRANTS
        for name, one in found.items()
        for arm in one["arms"]
        if arm["name"] == key and arm["interval"]
        for low, high in [arm["interval"]]
    ]
    metrics = {one["metric"] for one in found.values()}
    if not dots or len(metrics) > 1:
        return ""
    return charts.intervals("compared", dots, f"{METRICS[metrics.pop()].words} on the test part, 95 % interval")
