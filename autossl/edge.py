"""The edge of the command line: errors that a user may see become one sentence and an exit code."""

import sys
from typing import Any

import click

from autossl.errors import MachineStopped, NoCandidate, UserError
from autossl.printable import one_line

INTERRUPTED, FAULT = 130, 1
GO_ON = {
    "search": "; the same command, or autossl resume, goes on from what was written by then",
    "resume": "; autossl resume goes on from what was written by then",
}


class Edge(click.Group):
    """Turns the errors that a user may see into one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as fault:
            _end(f"error: {fault}", fault.exit_code)
        except (NoCandidate, MachineStopped) as fault:
            _end(str(fault), fault.exit_code)
        except (KeyboardInterrupt, click.exceptions.Abort):
            _end("interrupted" + GO_ON.get(ctx.invoked_subcommand or "", ""), INTERRUPTED)
        except (click.exceptions.Exit, click.ClickException):
            raise
        except BrokenPipeError:
            sys.exit(0)
        except Exception as fault:
            _end(_fault(fault), FAULT)


def _end(sentence: str, code: int) -> None:
    click.echo(one_line(sentence), err=True)
    sys.exit(code)


def _fault(fault: Exception) -> str:
    """Log a fault of ours where it can be found, and say so in a line."""
    import logging
    import traceback

    log = logging.getLogger("autossl")
    text = "".join(traceback.format_exception(fault))
    where = "autossl-fault.log"
    folder = getattr(fault, "autossl_log", None)
    if folder:
        where = folder
    with open(where, "a") as file:
        file.write(text)
    log.debug("%s", text)
    return f"a fault in AutoSSL ({type(fault).__name__}); please report it with {where}"
