"""What is said of parts with too few patients of a class to judge or to test by."""

from collections.abc import Mapping

from autossl.errors.printable import joined

LEAST_TESTED = 5  # patients of a class in the test part below which its scores have no interval worth showing
LEAST_JUDGED = 3  # patients of a class in the probe part below which leaving one out leaves one or none
MOST_NAMED = 4


def few_patients(counts: Mapping[str, Mapping[str, int]], unit: str, word: str = "class") -> tuple[str, ...]:
    """What is said of classes with too few patients in a scored part.

    `counts` holds by the name of a part ("probe", "test") and class how many patients have a label there; `unit` is
    the word for a patient ("patient", or "image" where there are no ids), `word` that for a class.
    """
    judged = _scarce("the probe part", counts.get("probe", {}), LEAST_JUDGED, unit, word)
    tested = _scarce("the test part", counts.get("test", {}), LEAST_TESTED, unit, word)
    return (
        *([f"{judged}: this {word} cannot be judged by {unit}s"] if judged else []),
        *([f"{tested}: what is tested there cannot be measured"] if tested else []),
    )


def few_tested(counts: Mapping[str, int], unit: str, where: str = "the test part", word: str = "class") -> str:
    """What is said of labelled images with so many patients of each class; empty where they are enough to test on."""
    return _scarce(where, counts, LEAST_TESTED, unit, word)


def _scarce(where: str, counts: Mapping[str, int], least: int, unit: str, word: str) -> str:
    few = [f"{count or 'no'} {unit}{'' if count == 1 else 's'} of {word} {name!r}" for name, count in counts.items()
           if count < least]  # fmt: skip
    if len(few) > MOST_NAMED:
        few = [*few[:MOST_NAMED], f"as few of {len(few) - MOST_NAMED} more"]
    return f"{where} has {joined(few)}" if few else ""
