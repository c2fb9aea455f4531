"""search_spaces/{methods,targets,timm}.toml, made of the classes and of timm: `python -m tests.tables` writes them.

Torch takes seconds to import, and what there is to choose from is told, and refused, without it.
"""

import inspect
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autossl.nn.known_weights import HUB
from autossl.nn.weights import told
from autossl.pretext import METHODS
from autossl.record.offered import shipped
from autossl.record.stored import key, toml
from autossl.targets import TARGETS
from tests.layout import ROOT, said

HEAD = "# {what}. `python -m tests.tables` writes this file.\n"


def methods() -> dict[str, dict[str, Any]]:
    """What every method says of itself."""
    return {name: {"about": _about(cls), "paradigm": cls.paradigm, "dims": sorted(cls.dims), "passes": cls.passes,
                   "needs": sorted(cls.needs), "paper": cls.paper} for name, cls in METHODS.items()}  # fmt: skip


def _about(cls: type) -> str:
    """The first sentence of its file, without the name."""
    return said(Path(inspect.getfile(cls))).partition(": ")[2]


def targets() -> dict[str, dict[str, Any]]:
    """What every target says of itself."""
    return {
        name: {
            "about": (cls.__doc__ or "").splitlines()[0],
            "form": cls.form.form,
            **{fact: getattr(cls, fact) for fact in ("metrics", "headings", "figure", "scored", "ranks", "curved")},
            "shown": list(cls.shown),
        }
        for name, cls in TARGETS.items()
    }


def of_timm() -> dict[str, dict[str, Any]]:
    """What timm says of those of its tags that search_spaces/weights.toml names."""
    found = {}
    for name in tomllib.loads(shipped("weights").decode()):
        tag = name.removeprefix(HUB)
        if name.startswith(HUB) and (facts := told.of_timm(tag)) is not None:
            known = {fact: value for fact, value in vars(facts).items() if value}
            found[name] = {**known, "repository": told.repository(tag)}
    return found


def written(what: str, tables: dict[str, dict[str, Any]]) -> str:
    """Tables as the text of a file."""
    lines = [HEAD.format(what=what)]
    for name, facts in tables.items():
        lines += [f"[{key(name)}]", *(f"{key(fact)} = {toml(value)}" for fact, value in facts.items()), ""]
    return "\n".join(lines)


FILES: dict[str, Callable[[], str]] = {
    "methods.toml": lambda: written("What pretext methods say of themselves", methods()),
    "targets.toml": lambda: written("What targets say of themselves", targets()),
    "timm.toml": lambda: written("What timm says of the tags of its own that weights.toml names", of_timm()),
}

if __name__ == "__main__":
    for file, made in FILES.items():
        (ROOT / "search_spaces" / file).write_text(made())
