"""Rows of a table, kept in a JSON file as they come, so that a long measurement can be broken off and goes on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autossl.record.folder import write_json


class Rows:
    """What was measured under `settings`, by key; every row is on disk as soon as it is there.

    Ends the program if the file holds rows that were measured under other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        stored = json.loads(path.read_text()) if path.is_file() else {"settings": self.settings, "rows": {}}
        for name in {*self.settings, *stored["settings"]}:
            now, then = self.settings.get(name), stored["settings"].get(name)
            if now != then:
                raise SystemExit(
                    f"rows measured with {name} = {now} were wanted, found rows with {then} in {path}; "
                    "choose another --out or the same settings"
                )
        self.rows: dict[str, dict[str, Any]] = stored["rows"]

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep a row."""
        self.rows[key] = row
        write_json(self.path, {"settings": self.settings, "rows": self.rows})


def markdown(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; numbers stand to the right, None is left empty."""
    right = [any(isinstance(line[column], int | float) for line in lines) for column in range(len(heads))]
    rule = ["---:" if numbers else "---" for numbers in right]
    rows = [heads, rule, *([_cell(value) for value in line] for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 1 else f"{value:.3f}"
