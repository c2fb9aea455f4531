"""What every form of label owes, whatever its labels are: a row in FORMS is held to this."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autossl.data.truth import FORMS, Cells, Frame, Nothing, Objects, Truth

N = 120


def column(make: Callable[[np.random.Generator], Any], gaps: float = 0.1) -> list[str]:
    random = np.random.default_rng(0)
    return ["" if random.random() < gaps else str(make(random)) for _ in range(N)]


LABELS: dict[str, dict[str, dict[str, list[str]]]] = {
    "classes": {"words": {"label": column(lambda r: r.choice(["ä", "b", "a b"]))}},
    "grades": {
        "numbers": {"label": column(lambda r: r.integers(0, 5))},
        "order": {"label": column(lambda r: r.choice(["mild", "severe", "none"]))},
    },
    "values": {
        "one": {"age": column(lambda r: r.normal())},
        "several": {"age": column(lambda r: r.integers(18, 90)), "volume": column(lambda r: 1e6 * r.random())},
        "two": {"age": column(lambda r: r.integers(0, 2))},
    },
    "labels": {
        "columns": {name: column(lambda r: r.integers(0, 2), gap) for name, gap in (("a", 0.1), ("b", 0.5), ("c", 0))},
        "list": {"label": column(lambda r: r.choice(["a|b", "b", "none", "c|a|b"]))},
        "one": {"a": column(lambda r: r.choice(["yes", "no"]))},
    },
    "masks": {"files": {"mask": column(lambda r: f"{r.integers(0, 9)}.png")}},
    "pairs": {"files": {"target": column(lambda r: f"{r.integers(0, 9)}.png")}},
    "boxes": {"drawn": {"mask": column(lambda r: f"{r.integers(0, 9)}.png")}},
    "nothing": {"any": {"label": column(lambda r: r.random())}},
}
CASES = [(form, name) for form, of_form in LABELS.items() for name in of_form]


def truth_of(form: str, name: str, folder: Path) -> Truth:
    order, columns = "none,mild,severe" if name == "order" else None, LABELS[form][name]
    if not FORMS[form].files:
        return FORMS[form].find(Cells(columns, "x", order=order))[0]
    names = next(iter(columns.values()))
    given = [objects(name) if name else None for name in names] if form == "boxes" else None
    found = FORMS[form].find(Cells(columns, "x", raw=lambda row: mask(names[row]), objects=given))[0]
    return found.decoded(frame(folder))


def objects(name: str) -> Objects:
    """Boxes that depend on their file alone; those of the first file are none."""
    random = np.random.default_rng(number := int(name.partition(".")[0]))
    corner = random.uniform(0, 4, (number, 2))
    return Objects(
        np.hstack([corner, corner + random.uniform(1, 3, (number, 2))]), tuple("ab"[: number % 2 + 1] * 9)[:number]
    )


def mask(name: str) -> NDArray[np.int64]:
    """A mask that depends on its file alone."""
    return np.random.default_rng(int(name.partition(".")[0])).integers(0, 3, (8, 8)) * 7


def frame(folder: Path) -> Frame:
    """That of images of the size of the store."""

    def write(name: str, write: Callable[[IO[bytes]], object]) -> None:
        with open(folder / name, "wb") as file:
            write(file)

    return Frame(
        folder, (8, 8), "key", "x", 3, str, lambda row, mask: None, np.full((N, 2), 8), lambda row, at: at / 8,
        lambda row, mask: mask, write,
        lambda row, target: (target[..., None] * 100).astype(np.uint16), lambda row: np.full((8, 8, 1), row / N),
        lambda row: np.ones(3), "pixels",
    )  # fmt: skip


def test_every_form_is_here() -> None:
    assert set(LABELS) == set(FORMS)
    for name, form in FORMS.items():
        assert form.form == name
        assert form.word
        assert form.words
        assert form.wanted


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case))
def truth(request: pytest.FixtureRequest, tmp_path: Path) -> Truth:
    form, name = request.param
    return truth_of(form, name, tmp_path)


def same(first: Truth, second: Truth) -> bool:
    """Equal in all that a truth says."""
    arrays = zip(first.columns().items(), second.columns().items(), strict=True)
    return (
        type(first) is type(second)
        and first.about == second.about
        and first.names == second.names
        and all(a == b and np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for (a, x), (b, y) in arrays)
        and (first.strata == second.strata).all()
        and (first.known == second.known).all()
        and (first.keys == second.keys).all()
    )


def test_what_is_stored_is_read_again(truth: Truth) -> None:
    about = json.loads(json.dumps(truth.about, allow_nan=False))
    assert all(len(column) == len(truth) == N for column in truth.columns().values())
    assert all(column.dtype != object for column in truth.columns().values())
    assert same(type(truth).load(truth.columns(), about), truth)


@pytest.mark.parametrize("rows", [np.arange(3, 90, 7), np.arange(N) % 2 == 0, slice(10, 20), np.zeros(0, np.int64)])
def test_rows_are_those_of_the_whole(truth: Truth, rows: Any) -> None:
    part = truth[rows]
    assert len(part) == len(np.arange(N)[rows])
    assert part.about == truth.about
    np.testing.assert_array_equal(part.strata, truth.strata[rows])
    np.testing.assert_array_equal(part.known, truth.known[rows])
    assert part.counts() == truth.counts(rows)
    if len(part):
        assert part.described()


def test_what_is_withheld_cannot_be_read(truth: Truth) -> None:
    known = np.arange(N) % 3 == 0
    left = truth.only(known)
    np.testing.assert_array_equal(left.known, truth.known & known)
    nothing = type(truth).nothing(N, truth.about)
    if truth.looked_at:
        assert (left.strata[~known] == -1).all()
    assert (left.keys[~known] == -1).all()
    assert same(left[~known], nothing[~known])
    np.testing.assert_array_equal(left.strata[known], truth.strata[known])


def test_samples_at_the_end_are_not_known(truth: Truth) -> None:
    more = truth.extended(7)
    assert len(more) == N + 7
    assert same(more[:N], truth)
    assert not more.known[N:].any()
    assert same(more[N:], type(truth).nothing(7, truth.about))


def test_matched_with_itself_it_is_itself(truth: Truth) -> None:
    assert same(truth.matched(truth, "x"), truth)
    assert same(type(truth).nothing(0, truth.about).matched(truth, "x"), truth)


def test_nothing_is_known_of_samples_without_labels(truth: Truth) -> None:
    for about in (None, truth.about):
        none = type(truth).nothing(5, about)
        assert len(none) == 5
        assert not none.known.any()
        assert (none.keys == -1).all()


def test_strata_are_there_where_samples_may_be_drawn(truth: Truth) -> None:
    drawn = np.ones(N, dtype=bool) if isinstance(truth, Nothing) else truth.known
    np.testing.assert_array_equal(truth.strata >= 0, drawn)
    assert truth.strata.max() < len(truth.names)
    assert len(set(truth.names)) == len(truth.names)
    assert list(truth.counts()) == list(truth.names)
    assert list(truth.groups_per_stratum(slice(None), np.arange(N))) == list(truth.names)


def labels_of(truth: Truth) -> NDArray[Any]:
    stored = np.asarray(next(iter(truth.columns().values())), dtype=np.float64).reshape(N, -1)
    return np.where(np.isfinite(stored), stored, -12345.0)


def test_keys_are_equal_where_labels_are(truth: Truth) -> None:
    keys, labels, known = truth.keys, labels_of(truth), truth.known
    assert ((keys == -1) == ~known).all()
    equal = (labels[:, None] == labels[None]).all(2)
    both = known[:, None] & known[None]
    np.testing.assert_array_equal((keys[:, None] == keys[None])[both], equal[both])


def digest(truth: Truth) -> bytes:
    return b"".join(bytes(part) for part in truth.content())


def test_content_differs_where_labels_do(truth: Truth) -> None:
    assert digest(truth) == digest(type(truth).load(truth.columns(), truth.about))
    if not truth.looked_at:
        return
    seen = {digest(truth)}
    for row in np.flatnonzero(truth.known)[:5]:
        seen.add(digest(truth.only(np.arange(N) != row)))
    assert len(seen) == 6


def test_what_labels_are_called_is_content() -> None:
    for form, names in (("values", ("age", "size")), ("labels", ("a", "b"))):
        one, two = ({name: LABELS[form]["one"][next(iter(LABELS[form]["one"]))]} for name in names)
        found = [FORMS[form].find(Cells(columns, "x"))[0] for columns in (one, two)]
        assert digest(found[0]) != digest(found[1])
