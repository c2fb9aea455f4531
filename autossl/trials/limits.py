"""Time limits that are too short: what is said of them."""

from autossl.errors import UserError
from autossl.record.clock import as_option, in_words

FLOOR_SECONDS = 60.0  # no machine gets through start-up, a candidate, evaluation and export in less


def check_limit(limit: float | None) -> None:
    """Refuse, before anything is measured, a limit in which nothing can be done."""
    if limit is not None and limit < FLOOR_SECONDS:
        raise UserError(
            f"a time limit of at least {FLOOR_SECONDS:.0f}s was wanted (start-up, one candidate, evaluation and export "
            f"take that), found --time-limit {limit:g}s; give for example 3m"
        )


def too_short(limit: float, least: int, smaller: str = "") -> UserError:
    """The refusal of a limit where `least` seconds would do."""
    return UserError(
        f"a time limit of at least {in_words(least)} was wanted (one short candidate, its evaluation and export, "
        f"at the speed measured here), found --time-limit {as_option(round(limit))}; give --time-limit "
        f"{as_option(least)}{smaller}"
    )
