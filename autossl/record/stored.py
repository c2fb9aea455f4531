"""Files of a study and of exported encoders, read: what is damaged is refused by name, whoever reads it."""

import json
import math
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autossl.errors import UserError
from autossl.errors.keywords import FLAG, TEXT, Kind, counted, number, one_of, optional

REMEDY = "copy it again from where it is whole, or start anew in another folder"
BARE = re.compile(r"[A-Za-z0-9_-]+")
NO_TOML = re.compile("[\0\ud800-\udfff]")  # TOML holds no lone surrogates, which names in other encodings have here
KEPT = re.compile("\0([0-9a-f]{4})")


class Damaged(UserError, KeyError):
    """A file that AutoSSL wrote and cannot use any more."""

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(f"a whole {file.name} was wanted, but {file} is damaged ({why}); {REMEDY}")

    __str__ = UserError.__str__


class Table(dict[str, Any]):
    """A table of a file; `Damaged` names the key that is asked for and missing."""

    _file: Path

    def __missing__(self, key: str) -> Any:
        raise Damaged(self._file, f"it has no {key!r}")


def _table(values: dict[str, Any], file: Path) -> Table:
    found = Table(values)
    found._file = file
    return found


def _typed(wanted: str, cls: type) -> Kind:
    def plain(value: Any) -> Any:
        if not isinstance(value, cls):
            raise ValueError
        return value

    return Kind(wanted, "mend it", plain)


TABLE, LIST = _typed("a table", dict), _typed("a list", list)


def _all(kind: Kind) -> Kind:
    def plain(values: Any) -> Any:
        return [kind.plain(value) for value in LIST.plain(values)]

    return Kind(f"a list, each {kind.wanted},", "mend it", plain)


def _some(kind: Kind) -> Kind:
    """A list of one to a few of these: the channels of images."""

    def plain(values: Any) -> Any:
        if not 1 <= len(LIST.plain(values)) <= 64:
            raise ValueError
        return _all(kind).plain(values)

    return Kind(f"a list of a few, each {kind.wanted},", "mend it", plain)


def _with(**kinds: Kind) -> Kind:
    """A table in which these keys, where they are there, are of these kinds."""

    def plain(values: Any) -> Any:
        for name, kind in kinds.items():
            if name in TABLE.plain(values):
                kind.plain(values[name])
        return values

    return Kind(f"a table with {', '.join(kinds)} as they should be", "mend it", plain)


def _either(*kinds: Kind) -> Kind:
    def plain(value: Any) -> Any:
        if not any(kind.takes(value) for kind in kinds):
            raise ValueError
        return value

    return Kind(" or ".join(kind.wanted for kind in kinds), "mend it", plain)


def _each(kind: Kind) -> Kind:
    """A table of nothing but these."""

    def plain(values: Any) -> Any:
        return {name: kind.plain(value) for name, value in TABLE.plain(values).items()}

    return Kind(f"a table, each {kind.wanted},", "mend it", plain)


ANY_NUMBER = number(-math.inf)
SCORED = optional(_with(score=optional(ANY_NUMBER), se=optional(ANY_NUMBER), seconds=optional(ANY_NUMBER)))
GIVEN = {
    **dict.fromkeys(("name", "file", "backbone", "licence"), TEXT),
    "model_args": TABLE,
    **dict.fromkeys(("upsample", "size"), counted(1)),
    **dict.fromkeys(("mean", "sd"), _some(ANY_NUMBER)),
}
START = _with(
    name=TEXT, backbone=TEXT, model_args=TABLE, upsample=counted(1), mean=optional(_some(ANY_NUMBER)),
    std=optional(_some(ANY_NUMBER)), place=optional(counted(0)), precision=optional(one_of("fp32", "bf16")),
)  # fmt: skip
TYPES: dict[str, dict[str, Kind]] = {  # by file, of the keys that may be there
    "config.toml": {
        **dict.fromkeys(("study_name", "task", "metric", "adaptation", "space", "backbone", "modality"), TEXT),
        **dict.fromkeys(
            (
                "device",
                "precision",
                "start",
                "label_column",
                "patient_column",
                "order",
                "weights_licence",
                "degradation",
                "windows",
            ),
            TEXT,
        ),
        **dict.fromkeys(("data", "unlabeled", "labels", "missing", "executor", "version"), _typed("a text", str)),
        **dict.fromkeys(("model_args", "left_out"), TABLE),
        **dict.fromkeys(("methods", "lacks"), _all(TEXT)),
        **dict.fromkeys(("weights", "weights_sha256"), _either(TEXT, _all(TEXT))),
        "given": _all(_with(**GIVEN)),
        **dict.fromkeys(("image_size", "upsample", "workers", "max_labels", "max_candidates"), counted(1)),
        "seed": counted(0, 2**32),
        "no_images": FLAG,
        "time_limit": _either(number(0, open_low=True), one_of("none")),
    },
    "state.json": {
        "stage": TEXT,
        "stages": _all(_with(stage=TEXT, at=ANY_NUMBER)),
        "planned": _typed("a text", str),
        "finished": FLAG,
        "tests": counted(0),
        "baselines": optional(_each(SCORED)),
        "starts": optional(_with(given=optional(START), trains=optional(START), ways=_all(START), begins=FLAG)),
        "costs": optional(TABLE),
        "plan": optional(
            _with(rungs=_all(counted(1, 2**62)), methods=_all(TEXT), skipped=_all(TEXT), table=_all(LIST))
        ),
        "supervised": SCORED,
        "finalists": optional(_all(_with(candidate=counted(0), rung=counted(0), selection=_all(ANY_NUMBER)))),
        "scored": optional(_each(_all(ANY_NUMBER))),
        "granted": optional(_each(optional(ANY_NUMBER))),
        "arms": optional(_each(_with(settings=_each(ANY_NUMBER), seconds=ANY_NUMBER))),
        "testing": optional(_all(TEXT)),
        "tested": optional(FLAG),
        "final": optional(TABLE),
        "repeat": optional(_all(_with(candidate=counted(0), rung=counted(0), params=TABLE))),
        "result": optional(_with(candidate=_with(number=counted(0)), test=_with(entrants=TABLE))),
    },
    "clock.json": {"runs": _all(_with(seconds=number(-math.inf), cores=number(0)))},
    "config.json": {  # of an exported encoder
        "architecture": TEXT,
        "num_classes": counted(0),
        "label_names": _all(TEXT),
        "members": _all(TEXT),
        "model_args": TABLE,
        "autossl": _with(
            image_size=counted(1, 1024),
            upsample=counted(1, 64),
            scale=number(0, open_low=True),
            dims=counted(2, 3),
            mean=_some(number(-math.inf)),
            std=_some(number(0)),
            window=one_of("kept", "ct", "robust"),
            depth=_typed("a text", str),
            floats=FLAG,
            format=counted(1),
            readout=TEXT,
            arguments=_each(_either(FLAG, _either(counted(1, 65_536), _all(counted(1, 65_536))))),
            sight=_with(stages=counted(1, 2), turned=FLAG, maps=FLAG),
            words=_typed("a text", str),
            meaning=_with(task=TEXT, form=TEXT, about=TABLE),
        ),
    },
    "data.json": {
        "fingerprint": TEXT,
        "images": counted(1),
        "name": TEXT,
        "parts": _each(_with(labels=counted(0))),
        "notes": _all(TEXT),
    },
}


def read_json(path: Path) -> Any:
    """Read JSON; None where there is no file. Raises `Damaged`."""
    found = _read(path, lambda text: json.loads(text, object_hook=lambda values: _table(values, path)))
    return found if found is None else checked(path, found)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file that `toml` made, or one like it. Raises `Damaged`."""
    found = _read(path, tomllib.loads)
    if found is None:
        raise Damaged(path, "it is not there")
    values: dict[str, Any] = checked(path, _table(_plain(found), path))
    return values


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    if os.path.lexists(path) and not path.is_file():
        raise Damaged(path, "something else is in its place")
    try:
        return parse(path.read_bytes().decode()) if path.is_file() else None
    except OSError as fault:
        raise Damaged(path, fault.strerror or type(fault).__name__) from None
    except (ValueError, RecursionError) as fault:
        raise Damaged(path, f"no {path.suffix.removeprefix('.').upper()}: {type(fault).__name__}") from None


def checked(path: Path, found: Any) -> Any:
    """What a file holds, if its keys have the types that are theirs; `Damaged` otherwise."""
    kinds = TYPES.get(path.name)
    if kinds is None:
        return found
    if not isinstance(found, dict):
        raise Damaged(path, "it holds no table")
    for name, kind in kinds.items():
        if name in found and not kind.takes(found[name]):
            raise Damaged(path, f"{name} is not {kind.wanted}")
    return found


def toml(value: Any) -> str:
    """A text, number, truth value, or a list or table of these as TOML; `read_toml` gives any text back as it was."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key(name)} = {toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, str):
        kept = NO_TOML.sub(lambda found: f"\0{ord(found[0]):04x}", value)
        return json.dumps(kept, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)  # JSON and TOML agree on whole numbers, finite ones and truth values


def key(name: str) -> str:
    """The name of a value in TOML."""
    return name if BARE.fullmatch(name) else toml(name)


def _plain(value: Any) -> Any:
    """A value as it was before `toml`."""
    if isinstance(value, dict):
        return {_plain(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return KEPT.sub(lambda found: chr(int(found[1], 16)), value) if isinstance(value, str) else value
