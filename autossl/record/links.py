"""Links in a study folder: what is written through one lands elsewhere, and the folder may be somebody else's."""

import os
from pathlib import Path

from autossl.errors import UserError

LOCK = "study.journal.lock"  # Optuna's lock is a link to the journal, which nothing is written through


def refuse_links(root: Path) -> None:
    """UserError where anything in the study folder `root` is a symbolic link; `root` itself may be one."""
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink() and not (path.parent == root and name.startswith(LOCK)):
                raise UserError(
                    f"a study folder without links was wanted, found {path.relative_to(root)} in {root}, which leads "
                    f"to {os.readlink(path)}; put what it leads to in its place, or remove it"
                )
