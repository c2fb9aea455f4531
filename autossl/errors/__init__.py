"""The errors that a user may see, each with its exit code."""

from autossl.errors.printable import one_line


class UserError(ValueError):
    """Bad usage or input (exit 2): one sentence with what was wanted, what was found, where, and the remedy."""

    exit_code = 2

    def __init__(self, sentence: str = "") -> None:
        super().__init__(one_line(sentence))  # paths may hold line ends


class NoCandidate(RuntimeError):
    """No usable candidate came out of the search (exit 3)."""

    exit_code = 3


class MachineStopped(RuntimeError):
    """The machine stopped the run: disk, memory or storage (exit 4); the study can be resumed."""

    exit_code = 4
