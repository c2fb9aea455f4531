"""What there is to choose from, as rows and as lines for a terminal; all but networks without torch."""

import textwrap
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Any

from autossl.nn.known_weights import known
from autossl.nn.weights_here import here
from autossl.record.offered import methods, shipped, shipped_spaces, tasks
from autossl.views.presets import modalities

Rows = list[dict[str, Any]]
SHOWN = (  # columns of a listing
    "name", "architecture", "modality", "size", "parameters", "licence", "here", "paradigm", "dims", "passes", "needs",
    "lacks", "metrics",
)  # fmt: skip
WIDE = 76  # characters of a line of explanation


def _methods() -> Rows:
    """Every pretext method: what it is, dimensions, needs, cost in encoder passes, paper, what is searched."""
    space = tomllib.loads(shipped("default").decode())
    return [
        {
            **{key: list(value) if isinstance(value, tuple) else value for key, value in asdict(method).items()},
            "searched": {key: _domain(value) for key, value in space.get(name, {}).items() if _varies(key, value)},
            "priors": space.get(name, {}).get("prior", [{}] if name in space else []),
        }
        for name, method in methods().items()
    ]


def _varies(key: str, value: Any) -> bool:
    return key != "prior" and isinstance(value, dict | list)


def _domain(value: Any) -> Any:
    return {"low": value["low"], "high": value["high"], "log": value.get("log", False)} if "low" in value else value


def _modalities() -> Rows:
    return [{"name": name, "lacks": sorted(row.lacks), "about": row.about} for name, row in modalities().items()]


def _targets() -> Rows:
    return [{"name": name, "metrics": list(row.metrics), "about": row.about} for name, row in tasks().items()]


def _weights() -> Rows:
    """Every known file of weights, and where it is on this machine."""
    return [{**asdict(row), "here": here(row)} for row in known().values()]


TABLES: dict[str, Callable[[], Rows]] = {
    "methods": _methods,
    "spaces": lambda: [{"name": name} for name in shipped_spaces()],
    "modalities": _modalities,
    "targets": _targets,
    "weights": _weights,
}


def matching(rows: Rows, pattern: str) -> Rows:
    """The rows whose name has this in it, or is matched by it where it has wildcards."""
    wild = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
    return [row for row in rows if fnmatchcase(row["name"].lower(), wild.lower())]


def table(rows: Rows) -> str:
    """The rows of a listing as lines under a heading, what each is about below it; the rest is left to JSON."""
    keys = [key for key in SHOWN if any(key in row for row in rows)]
    cells = [keys, *([_cell(row.get(key)) for key in keys] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(keys))]
    lines = ["  ".join(cell.ljust(wide) for cell, wide in zip(line, widths, strict=True)).rstrip() for line in cells]
    for place, row in enumerate(rows, 1):
        words = "; ".join(text for text in (row.get("about", "").rstrip("."), row.get("paper", "")) if text)
        lines[place] += "".join(f"\n    {line}" for line in textwrap.wrap(words, WIDE))
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None or value in ("", []):
        return "-"
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
