"""The errors that a user may see, each with its exit code."""

from autossl.errors.printable import one_line


class Told(Exception):
    """An error whose sentence is all that its reader needs: notebooks show it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]  # what IPython prints


class UserError(Told, ValueError):
    """Bad usage or input (exit 2): one sentence with what was wanted, what was found, where, and the remedy."""

    exit_code = 2

    def __init__(self, sentence: str = "") -> None:
        super().__init__(one_line(sentence))  # paths may hold line ends


class NoCandidate(Told, RuntimeError):
    """No usable candidate came out of the search (exit 3)."""

    exit_code = 3


class MachineStopped(Told, RuntimeError):
    """The machine stopped the run: disk, memory or storage (exit 4); the study can be resumed."""

    exit_code = 4
