"""What a keyword takes, as data: the one check of values from Python, the command line, search spaces and settings."""

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from numbers import Integral, Real
from typing import Any

from autossl.errors import UserError

MOST = 2**31 - 1  # of what is counted
MOST_NAME, MOST_PATH = 255, 4095  # bytes that file systems take in one name and in a whole path
MOST_DEEP = 256  # folders in one another: Python makes and removes them one within the other
DEVICES = re.compile(r"auto|cpu|cuda(:\d{1,4})?")
MOST_DIGITS, MOST_SHOWN = 12, 60  # of a number in words, of what a message repeats


@dataclass(frozen=True)
class Kind:
    """One kind of value: in words, and a function that gives it in its plain type or raises ValueError."""

    wanted: str
    remedy: str
    plain: Callable[[Any], Any]

    def take(self, name: str, value: Any, where: str = "") -> Any:
        """The value in its plain type; UserError that calls it `name` (and says `where` it stands) otherwise."""
        try:
            return self.plain(value)
        except ValueError as fault:
            why = f" ({fault})" if str(fault) else ""
            raise UserError(
                f"{self.wanted} was wanted, found {name} {told(value)}{why}{where}; {self.remedy}"
            ) from None

    def takes(self, value: Any) -> bool:
        """Whether the value is one of this kind."""
        try:
            self.plain(value)
        except ValueError:
            return False
        return True


def told(value: Any) -> str:
    """A value as a message repeats it: whole where it is short, an object by its type."""
    if isinstance(value, int) and abs(value) >= 10**MOST_SHOWN:
        return "a number of more than 60 digits"  # Python writes no longer ones than 4,300
    if value is not None and not isinstance(value, str | bytes | int | float | os.PathLike | timedelta):
        return f"<{type(value).__name__}>"
    text = repr(value[: MOST_SHOWN + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= MOST_SHOWN + 2 else f"{text[:MOST_SHOWN]}..."


def whole(low: int, high: int = MOST, *words: str, wanted: str = "", remedy: str = "") -> Kind:
    """A whole number between both ends, or one of these words."""
    ends = f"{low} or more" if high == MOST else f"between {low} and {high}"
    also = "".join(f" or {word}" for word in words)

    def plain(value: Any) -> int | str:
        if isinstance(value, str) and value in words:
            return value
        found = _whole(value)
        if not low <= found <= high:
            raise ValueError
        return found

    return Kind(wanted or f"a whole number {ends}{also}", remedy or f"give for example {low}{also}", plain)


def number(low: float, high: float = math.inf, open_low: bool = False, open_high: bool = False) -> Kind:
    """A finite number between both ends, which an open end does not hold; no text."""
    first, last = "(" if open_low else "[", ")" if open_high or high == math.inf else "]"

    def plain(value: Any) -> float:
        found = _real(value)
        if not low <= found <= high or (open_low and found == low) or (open_high and found == high):
            raise ValueError
        return found

    return Kind(f"a number in {first}{low:g}, {high:g}{last}", "mend it", plain)


def counted(low: int, high: int = MOST) -> Kind:
    """A whole number in its own type: neither text nor 2.0."""
    return Kind(f"a whole number from {low} to {high}", "mend it", lambda value: _counted(value, low, high))


def _counted(value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= high:
        raise ValueError
    return int(value)


def one_of(*allowed: str) -> Kind:
    """One of these words."""

    def plain(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError
        return value

    return Kind(f"one of {', '.join(allowed)}", "choose one of these", plain)


def optional(kind: Kind) -> Kind:
    """The same kind, or None."""
    return Kind(kind.wanted, kind.remedy, lambda value: None if value is None else kind.plain(value))


def _whole(value: Any) -> int:
    """Numbers of Python and NumPy that are whole, and their digits in text; not bool, which is a slip."""
    if isinstance(value, str):
        text = value.strip()
        if not (text.removeprefix("-").isdecimal() and text.isascii() and len(text) <= MOST_DIGITS):
            raise ValueError
        return int(text)
    found = _real(value)
    if isinstance(value, Integral):
        return int(value)  # exactly, which a float may not be
    if not found.is_integer():
        raise ValueError
    return int(found)


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError
    try:
        found = float(value)
    except OverflowError:
        raise ValueError from None
    if not math.isfinite(found):
        raise ValueError
    return found


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    if not value.strip():
        raise ValueError("it is empty")
    _encoded(value)
    return value


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("it is not in UTF-8") from None


def _path(value: Any) -> str:
    """A path as text that settings can hold and file systems take."""
    text = _text(os.fspath(value) if isinstance(value, str | os.PathLike) else value)
    if "\0" in text:
        raise ValueError("it holds a zero character")
    longest = max(len(name.encode()) for name in text.split("/"))
    if longest > MOST_NAME:
        raise ValueError(f"a name of {longest} bytes; {MOST_NAME} are possible")
    if text.count("/") > MOST_DEEP:
        raise ValueError(f"{text.count('/')} folders deep; {MOST_DEEP} are possible")
    if len(text.encode()) > MOST_PATH:
        raise ValueError(f"a path of {len(text.encode())} bytes; {MOST_PATH} are possible")
    return text


def _names(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, tuple | list) or not value:
        raise ValueError
    return tuple(_text(name) for name in value)


def _weights(value: Any) -> tuple[str, ...]:
    """Texts and paths, one or several; `auto` and `none` stand alone."""
    several = value if isinstance(value, tuple | list) else (value,)
    found = tuple(dict.fromkeys(_path("none" if each is None else each) for each in several))
    if not found or (len(found) > 1 and {"auto", "none"} & set(found)):
        raise ValueError
    return found


def _columns(value: Any) -> str:
    return _text(",".join(map(_text, value)) if isinstance(value, tuple | list) else value)


def _words(value: Any) -> str:
    """Words with commas between them; none at all mean something too."""
    if isinstance(value, tuple | list):
        value = ",".join(map(_text, value))
    if not isinstance(value, str):
        raise ValueError
    _encoded(value)
    return value


def _device(value: Any) -> str:
    kind = type(value)  # torch takes seconds to import and is not needed to know its device
    name = str(value) if (kind.__module__, kind.__name__) == ("torch", "device") else _text(value)
    if not DEVICES.fullmatch(name):
        raise ValueError
    return name


def _duration(value: Any) -> str | float | None:
    """Seconds, or words that `clock.seconds` reads; None for no limit."""
    if value is None or isinstance(value, str):
        if value is not None and len(_text(value)) > MOST_SHOWN:
            raise ValueError
        return value
    return _real(value.total_seconds() if isinstance(value, timedelta) else value)


FLAG = Kind("true or false", "mend it", _flag)
TEXT = Kind("a text", "give one", _text)
PATH = Kind("a path", "give the path of a file or folder", _path)
NAMES = Kind("names with a comma between them or a list of names", "give for example simclr,vicreg", _names)
WEIGHTS = Kind(
    "auto, none, or the names or files of weights",
    "give auto or none alone, or for example packaged:lite0, hub:NAME or a file",
    _weights,
)
WORDS = Kind("words with a comma between them or a list of words", "give for example none,unknown", _words)
COLUMNS = Kind("a column, or several with a comma between them or as a list", "give for example age,size", _columns)
DEVICE = Kind("a device (auto, cpu, cuda)", "give auto, cpu or cuda", _device)
DURATION = Kind("a time limit", "give for example 45m, 8h, a number of seconds or none", _duration)


def path_of(value: Any, name: str) -> str:
    """The text of a path that an argument gives; UserError if it is none or no file system takes it."""
    text: str = PATH.take(name, value)
    return text


def path_in(value: Any, name: str) -> Any:
    """The same for an argument that may be something else than a path, which is left as it is."""
    return path_of(value, name) if isinstance(value, str | os.PathLike) else value
