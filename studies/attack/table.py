"""The table of an attack, and what was not as expected."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from studies.attack.case import Outcome

LIBRARIES = (
    "autossl-imaging",
    "torch",
    "timm",
    "optuna",
    "numpy",
    "pillow",
    "nibabel",
    "click",
    "safetensors",
    "numba",
)
COLUMNS = {
    "exits of 1": ("exit 1",), "tracebacks": ("traceback",), "hangs": ("hang", "crash"), "two lines": ("lines",),
    "silent": ("silent",), "files outside": ("outside",), "connections": ("connection",), "code run": ("code",),
    "overruns": ("overrun",), "other": ("other",),
}  # fmt: skip


def write_result(outcomes: Mapping[str, Sequence[Outcome]], folder: Path, save: bool) -> tuple[str, int]:
    """The table and the list of unexpected cases as text, and how many these are; result.md and .json if `save`."""
    rows = {name: row(found) for name, found in outcomes.items()}
    heads = ["campaign", "tried", "as expected", *COLUMNS, "skipped", "s"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    lines += ["| " + " | ".join([name, *map(str, values.values())]) + " |" for name, values in rows.items()]
    bad = [(name, outcome) for name, found in outcomes.items() for outcome in found if outcome.faults]
    about = machine()
    text = "\n".join(["# An attack on AutoSSL", "", _described(about), "", *lines, "", *_listed(bad)]) + "\n"
    if save:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.md").write_text(text)
        unexpected = [{"campaign": name, **outcome.to_dict()} for name, outcome in bad]
        result = {"about": about, "campaigns": rows, "unexpected": unexpected}
        (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return text, len(bad)


def row(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Figures of a campaign; an outcome may stand for several files, of which those with a fault are counted."""
    tried = sum(o.tried for o in outcomes if not o.skipped)
    failed = sum(min(o.tried, len(o.faults)) for o in outcomes)
    kinds = [{kind for kind, _ in o.faults} if o.tried == 1 else [kind for kind, _ in o.faults] for o in outcomes]
    counts = {name: sum(kind in wanted for found in kinds for kind in found) for name, wanted in COLUMNS.items()}
    skipped = sum(bool(o.skipped) for o in outcomes)
    return {"tried": tried, "as expected": tried - failed, **counts, "skipped": skipped,
            "s": round(sum(o.seconds for o in outcomes))}  # fmt: skip


def machine() -> dict[str, Any]:
    """What the figures were got with; no names of machines or people."""
    found: dict[str, Any] = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}",
                             "cores": len(os.sched_getaffinity(0))}  # fmt: skip
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def _described(about: Mapping[str, Any]) -> str:
    return "`python -m studies.attack`; " + ", ".join(f"{name} {value}" for name, value in about.items()) + "."


def _listed(bad: Sequence[tuple[str, Outcome]]) -> list[str]:
    if not bad:
        return ["Nothing was unexpected."]
    lines = [
        "## Not as expected",
        "",
        "Each repeats by `python -m studies.attack --campaign CAMPAIGN --only NAME`.",
        "",
    ]
    for campaign, outcome in bad:
        for kind, sentence in outcome.faults[:4]:
            lines.append(f"- {campaign} `{outcome.name}`: **{kind}** {plain(sentence)[:240]}")
    return lines


def plain(text: str) -> str:
    """On one line, without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text).replace("|", "/")
