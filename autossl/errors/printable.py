"""Names that come from files, as a terminal and as a model card may show them: they say something and do nothing."""

import logging
import re

MOST_SHOWN = 60  # characters of a cell that a message quotes
MEANT = re.compile(r"[\\`*\[\]~|$]|(?<![^\W_])_|_(?![^\W_])")  # what Markdown takes for more than letters within a line
FIRST = re.compile(r"^(\d*)([#+=.)-])(?=[#=-]*(?:\s|$))")  # and where a line begins: headings, lists, rules
HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "://": "&#58;//", "www.": "www&#46;"}  # bare links too


def one_line(text: str) -> str:
    """The text with everything that would not stand as itself on one line of a terminal written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def markdown(text: str) -> str:
    """The text as Markdown shows it letter by letter: no HTML, no image, no link, on one line."""
    text = MEANT.sub(r"\\\g<0>", one_line(text).strip())
    for mark, written in HTML.items():
        text = text.replace(mark, written)
    return FIRST.sub(r"\1\\\2", text)


class OneLine(logging.Filter):
    """Lets a handler write each message on one line; a traceback below it keeps its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = one_line(record.getMessage()), ()
        return True


def joined(parts: list[str]) -> str:
    """Parts of a sentence: a, b and c."""
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + "".join(parts[-1:])


def plural(count: int, word: str) -> str:
    """A count with its noun."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def shown(text: str) -> str:
    """What a file holds as a message quotes it: on one line and not too long."""
    plain = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return plain if len(plain) <= MOST_SHOWN else f"{plain[:MOST_SHOWN]}..."
