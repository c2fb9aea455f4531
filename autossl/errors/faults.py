"""Faults of ours, told so that the telling can be passed on: what was at work where, and none of the user's names."""

import errno
import linecache
import os
import platform
import traceback
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType

PACKAGES = ("autossl-imaging", "torch", "timm", "numpy", "optuna")


def account(fault: BaseException) -> str:
    """A fault as a report needs it: versions, types and lines of code, without messages, which hold names of files."""
    lines = [f"Python {platform.python_version()} on {platform.system()}, {', '.join(map(_version, PACKAGES))}"]
    for link in reversed(_chain(fault)):
        lines += ["", *_lines(link.__traceback__), _kind(link)]
    return "\n".join(lines) + "\n"


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed"


def _chain(fault: BaseException) -> list[BaseException]:
    """The fault, what it came from, and so on."""
    found: list[BaseException] = []
    at: BaseException | None = fault
    while at is not None and at not in found:
        found.append(at)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return found


def _lines(trace: TracebackType | None) -> list[str]:
    """Modules, not files: those have the user's folders in their paths."""
    lines = []
    for frame, number in traceback.walk_tb(trace):
        module, code = frame.f_globals.get("__name__", "?"), frame.f_code
        lines.append(f"  {module}, line {number}, in {code.co_name}")
        if str(module).startswith("autossl."):  # code of others, a data set's say, is their own affair
            lines.append(f"    {linecache.getline(code.co_filename, number).strip()}")
    return lines


def _kind(fault: BaseException) -> str:
    name = type(fault).__name__
    if isinstance(fault, OSError) and fault.errno is not None:
        return f"{name} ({errno.errorcode.get(fault.errno, fault.errno)}: {os.strerror(fault.errno)})"
    return name
