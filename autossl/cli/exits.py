"""The edge of the command line: errors that a user may see become one sentence and an exit code."""

import io
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from autossl.errors import MachineStopped, NoCandidate, UserError
from autossl.errors.faults import account
from autossl.errors.machine import open_own, why_stopped
from autossl.errors.printable import one_line

INTERRUPTED, FAULT = 130, 1
FAULT_LOG = "autossl-fault.log"
GO_ON = {
    "search": "; the same command, or autossl resume, goes on from what was written by then",
    "resume": "; autossl resume goes on from what was written by then",
}


class Edge(click.Group):
    """Turns the errors that a user may see into one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _quietly():
                return super().invoke(ctx)
        except UserError as fault:
            _end(f"error: {fault}", fault.exit_code)
        except (NoCandidate, MachineStopped) as fault:
            _end(str(fault), fault.exit_code)
        except (KeyboardInterrupt, click.exceptions.Abort):
            _end("interrupted" + GO_ON.get(ctx.invoked_subcommand or "", ""), INTERRUPTED)
        except click.UsageError as fault:
            command = fault.ctx.command_path if fault.ctx else "autossl"
            _end(f"error: {fault.format_message().rstrip('.')}; see {command} --help", fault.exit_code)
        except (click.exceptions.Exit, click.ClickException):
            raise
        except BrokenPipeError:
            sys.exit(0)
        except Exception as fault:
            _end(*_unforeseen(fault))


@contextmanager
def _quietly() -> Iterator[None]:
    """Any name can be printed, and no warning of a library (programmers ask for them with -W) comes with a sentence."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may be in no encoding at all
            stream.reconfigure(errors="backslashreplace")
    shown = warnings.showwarning
    if not sys.warnoptions:
        warnings.showwarning = lambda *_, **__: None
    try:
        yield
    finally:
        warnings.showwarning = shown


def _end(sentence: str, code: int) -> None:
    click.echo(one_line(sentence), err=True)
    sys.exit(code)


def _unforeseen(fault: Exception) -> tuple[str, int]:
    """Sentence and exit code for the machine's faults and for ours."""
    why = why_stopped(fault)
    if why is not None:
        return f"the machine stopped this ({why} and try again)", MachineStopped.exit_code
    return _fault(fault), FAULT


def _fault(fault: Exception) -> str:
    """Log a fault of ours where it can be found, and say so in a line."""
    text = account(fault)
    where = _kept(text, getattr(fault, "autossl_log", None))
    if where is None:
        told = " | ".join(line.strip() for line in text.splitlines() if line)
        return f"a fault in AutoSSL ({type(fault).__name__}); please report it: {told}"
    return f"a fault in AutoSSL ({type(fault).__name__}); please report it with {where}, which names no files"


def _kept(text: str, log: Path | None) -> Path | None:
    """Where the text was written: the study's log, this folder or that of temporary files; None if nowhere."""
    with suppress(OSError):
        if log is not None and log.is_file():  # else its study was refused and is gone
            return _written(text, log)
    with suppress(OSError):
        return _written(text, Path(FAULT_LOG))
    with suppress(OSError):
        number, name = tempfile.mkstemp(prefix="autossl-fault-", suffix=".log")
        os.close(number)
        return _written(text, Path(name))
    return None


def _written(text: str, place: Path) -> Path:
    with open_own(place) as file:
        file.write(text)
    return place
