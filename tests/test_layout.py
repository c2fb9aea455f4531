"""The rooms of the project are those that its documents name, and its files are of a size that can be read."""

import ast

from tests.layout import PAGE, PUBLIC, ROOMS, ROOT, page

FILES = sorted(path for folder in ("autossl", "proxies") for path in (ROOT / folder).rglob("*.py"))


def test_every_folder_is_a_room() -> None:
    found = {path.parent.name for path in (ROOT / "autossl").glob("*/__init__.py")}
    assert found == {*ROOMS, "proxies"}
    assert {path.stem for path in (ROOT / "autossl").glob("*.py")} == set(PUBLIC)


def test_the_page_has_a_line_for_every_file() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.layout"


def test_the_readme_has_a_line_for_every_room() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in (*ROOMS, "proxies") if f"\n  {name}/" not in readme and f"\n{name}/" not in readme] == []


def test_files_and_functions_have_a_size_that_can_be_read() -> None:
    long = [path.name for path in FILES if path.read_text().count("\n") > 300]
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                first = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
                long += [f"{path.name} {node.name}"] * ((node.end_lineno or 0) - (first or 0) > 40)
    assert long == []
