"""XML as a tree of texts, without document types and entities, so that no file can be larger than it is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from autossl.data.readers.disk import open_file

MOST_BYTES = 1 << 24


@dataclass
class Element:
    """One element: its name, its text and those inside it."""

    name: str
    text: str = ""
    inside: "list[Element]" = field(default_factory=list)

    def all(self, name: str) -> "Iterator[Element]":
        """The elements of this name directly inside."""
        return (each for each in self.inside if each.name == name)

    def said(self, *names: str) -> str:
        """The text of the first element on this way down; empty where there is none."""
        here: Element | None = self
        for name in names:
            here = None if here is None else next(here.all(name), None)
        return "" if here is None else here.text.strip()


def read_markup(path: Path) -> Element:
    """The outermost element of a file; ValueError where it is no plain XML."""
    with open_file(path, "an XML file") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES >> 20} MB")
    stack, parser = [Element("")], expat.ParserCreate()

    def start(name: str, _: dict[str, str]) -> None:
        stack[-1].inside.append(Element(name))
        stack.append(stack[-1].inside[-1])

    def text(said: str) -> None:
        stack[-1].text += said

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type, which is not read")

    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    parser.EndElementHandler = lambda _: stack.pop()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as fault:
        raise ValueError(f"it is no XML ({fault})") from None
    return stack[0].inside[0]
