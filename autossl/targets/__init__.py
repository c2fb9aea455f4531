"""What an encoder is for: one file and one row per task."""

from autossl.errors import UserError
from autossl.targets.classification import Classification, Score

TARGETS: dict[str, type[Classification]] = {"classification": Classification}


def target_class(task: str) -> type[Classification]:
    """The target of this name; UserError if there is none."""
    if task not in TARGETS:
        raise UserError(
            f"a task that this version serves was wanted ({', '.join(TARGETS)}), found --task {task!r}; choose one"
        )
    return TARGETS[task]


__all__ = ["TARGETS", "Classification", "Score", "target_class"]
