"""The built-in sample: repeatable, synthetic by its own word, and hard enough to need learning."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from autossl.data import Source, open_data
from autossl.data.degradations import parsed
from autossl.data.open import _picked
from autossl.data.parts import OFFICIAL_TEST
from autossl.data.paths import Beside
from autossl.data.readers.beside import raw
from autossl.data.readers.found import Found, truth_of
from autossl.data.samples import cells as samples
from autossl.data.samples.cells import (
    FINDINGS,
    KINDS,
    LABELLED,
    NUMBERS,
    PATIENTS,
    PER_PATIENT,
    TESTED,
    Slide,
    generate,
    read_cells,
    smear,
)
from autossl.data.samples.lesions import LOW_DOSE
from autossl.data.truth import FORMS, Labels, Pairs, Truth, Values
from autossl.errors import UserError


@pytest.fixture(scope="module", autouse=True)
def drawn_once() -> Iterator[None]:
    """The whole sample takes seconds to draw, and the same draws give the same cells."""
    once = cache(smear)

    def again(patients: int = PATIENTS, per_patient: int = PER_PATIENT, seed: int = 0) -> tuple[Any, ...]:
        *arrays, drawn = once(patients, per_patient, seed)
        return *arrays, dict(drawn)  # readers take columns out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "smear", again)
        yield


@pytest.fixture(scope="module")
def cells() -> Source:
    return open_data("sample:cells")


def test_it_is_what_its_description_says(cells: Source) -> None:
    assert cells.array is not None
    assert cells.array.shape == (PATIENTS * PER_PATIENT, 32, 32, 3)
    assert cells.array.dtype == np.uint8
    assert cells.truth.names == KINDS
    assert cells.has_patients
    assert np.bincount(cells.groups).tolist() == [PER_PATIENT] * PATIENTS
    assert any("synthetic" in note for note in cells.notes)
    known, tested = cells.truth.known, cells.split == OFFICIAL_TEST
    assert known[tested].all()
    assert len(set(cells.groups[tested])) == TESTED
    assert known[~tested].sum() == LABELLED * (PATIENTS - TESTED) == 240
    assert np.bincount(cells.truth.strata[known & ~tested]).min() >= 15


def test_the_same_seed_gives_the_same_smear(cells: Source) -> None:
    images, kinds, patients = generate(patients=3)
    assert cells.array is not None
    np.testing.assert_array_equal(images, cells.array[: 3 * PER_PATIENT])
    assert patients.tolist() == np.repeat(range(3), PER_PATIENT).tolist()
    known = cells.truth.known[: 3 * PER_PATIENT]
    told = [cells.truth.names[label] for label in cells.truth.strata[: 3 * PER_PATIENT][known]]
    assert [KINDS[kind] for kind in kinds[known]] == told
    assert (generate(patients=1, seed=1)[0] != images[:PER_PATIENT]).any()


def test_patients_differ_in_stain_and_light(cells: Source) -> None:
    assert cells.array is not None
    colour = cells.array.reshape(PATIENTS, PER_PATIENT, -1, 3).mean(2)
    within, between = colour.std(1).mean(), colour.mean(1).std(0).mean()
    assert between > 0.5 * within


def test_pixels_alone_do_not_tell_the_kinds(cells: Source) -> None:
    assert cells.array is not None
    assert cells.has_patients
    x = cells.array.reshape(cells.n, -1)[:, ::4].astype(np.float32)
    kinds = generate()[1]
    known = cells.groups < 90
    x -= x[known].mean(0)
    model = KNeighborsClassifier(11, metric="cosine").fit(x[known], kinds[known])
    score = balanced_accuracy_score(kinds[~known], model.predict(x[~known]))
    assert 0.3 < score < 0.6


def test_what_is_measured_draws_nothing_from_the_generator() -> None:
    """The state after one slide, and the brightness of its images, are those of the code that measured nothing."""
    random = np.random.default_rng([0, 7])
    kind = random.choice(len(KINDS), size=5)
    slide = Slide(random)
    images = slide.photograph(kind)
    assert random.bit_generator.state["state"]["state"] == 79149050660922648167243023620850146602
    np.testing.assert_allclose(images.mean((1, 2, 3)), [186.174, 188.758, 186.613, 181.54, 184.606], atol=0.01)
    assert set(slide.drawn) == {*NUMBERS, "maturity", *FINDINGS, "mask"}


def test_what_is_drawn_is_what_is_measured(cells: Source) -> None:
    images, kinds, patients, drawn = smear(patients=20)
    again = smear(patients=20)[3]
    assert all((column == again[name]).all() for name, column in drawn.items())
    assert ((drawn["nuclear_area"] > 20) & (drawn["nuclear_area"] < 32 * 32)).all()
    assert all(len(set(drawn["stain_age"][patients == patient])) == 1 for patient in range(20))
    assert set(drawn["maturity"]) == {1, 2, 3, 4, 5}
    assert (drawn["maturity"][np.isin(kinds, [2, 3])] == 1).all()
    np.testing.assert_array_equal(drawn["lobed"], drawn["maturity"] >= 3)
    dark = (images.mean(3) < 110).sum((1, 2))
    assert np.corrcoef(dark, drawn["nuclear_area"])[0, 1] > 0.35  # nuclei are what is dark
    old = np.corrcoef(images.reshape(len(images), -1).min(1), drawn["stain_age"])[0, 1]
    assert old > 0.3  # a faded stain leaves nothing black


@pytest.fixture(scope="module")
def found() -> Found:
    return read_cells()


def told(found: Found, form: str, column: str | None = None) -> Truth:
    beside = Beside(form=FORMS[form], label_column=column)
    picked = _picked(found, "sample:cells", beside)
    return truth_of(picked, beside.told, raw(picked, FORMS[form]) if FORMS[form].files else None)[0]


@pytest.mark.parametrize("form", [form for form in FORMS if form != "pairs"])  # which are made of the images
def test_each_form_finds_its_labels(found: Found, form: str) -> None:
    truth = told(found, form)
    assert truth.known.any() == (form != "nothing")
    assert any("synthetic" in note for note in found.notes)
    if isinstance(truth, Values | Labels):
        assert truth.called == {"values": NUMBERS, "labels": FINDINGS}[form]
    if form not in ("nothing", "masks", "boxes"):  # strata of masks are known when they are decoded, of parts all one
        assert min(truth.counts().values()) >= 30


def test_its_pairs_are_of_lower_dose() -> None:
    source = open_data("sample:cells", form=Pairs)
    assert source.truth.known.all()
    assert "with targets, made by" in source.truth.described()
    parsed(LOW_DOSE)


def test_columns_may_be_chosen(found: Found) -> None:
    truth = told(found, "values", "nuclear_area")
    assert isinstance(truth, Values)
    assert truth.called == ("nuclear_area",)
    assert told(found, "classes", "maturity").names == ("1", "2", "3", "4")
    with pytest.raises(
        UserError, match=r"'age' of --label-column was wanted, found the columns kind, nuclear_area, st"
    ):
        told(found, "values", "age")
