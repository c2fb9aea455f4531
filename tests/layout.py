"""docs/layout.md, made of the first sentences of all files: `python -m tests.layout` writes it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "layout.md"
NAMES = "cli run report finish trials model targets train pretext nn views data record errors"
ROOMS = tuple(NAMES.split())
PUBLIC = ("__init__", "__main__", "api", "embedder", "study")
HEAD = """# Where things are

A line per file: its first sentence. Rooms stand in the order of imports: a file imports from its own room and those
below, never from above (`uv run lint-imports`). This page is made of the files (`python -m tests.layout`).
"""


def said(path: Path) -> str:
    """The first sentence of a file, or the first line where that is long."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def room(folder: Path, name: str, level: str = "##") -> Iterator[str]:
    """A heading and a line per file, of a folder and of those in it."""
    yield f"\n{level} {name}/\n{said(folder / '__init__.py')}"
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            yield f"- `{path.name}`: {said(path)}"
    for inner in sorted(path.parent for path in folder.glob("*/__init__.py")):
        yield from room(inner, f"{name}/{inner.name}", "###")


def page() -> str:
    """The text of the page."""
    package = ROOT / "autossl"
    lines = [HEAD, "## autossl/", *(f"- `{name}.py`: {said(package / f'{name}.py')}" for name in PUBLIC)]
    for name in ROOMS:
        lines += room(package / name, name)
    lines += room(ROOT / "proxies", "proxies")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
