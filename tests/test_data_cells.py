"""The built-in sample: repeatable, synthetic by its own word, and hard enough to need learning."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from autossl.data import Source, open_data
from autossl.data.samples.cells import KINDS, PATIENTS, PER_PATIENT, generate


@pytest.fixture(scope="module")
def cells() -> Source:
    return open_data("sample:cells")


def test_it_is_what_its_description_says(cells: Source) -> None:
    assert cells.array is not None
    assert cells.array.shape == (PATIENTS * PER_PATIENT, 32, 32, 3)
    assert cells.array.dtype == np.uint8
    assert cells.truth.names == KINDS
    assert cells.groups is not None
    assert np.bincount(cells.groups).tolist() == [PER_PATIENT] * PATIENTS
    assert any("synthetic" in note for note in cells.notes)
    assert np.bincount(cells.truth.strata).min() > 150


def test_the_same_seed_gives_the_same_smear(cells: Source) -> None:
    images, kinds, patients = generate(patients=3)
    assert cells.array is not None
    np.testing.assert_array_equal(images, cells.array[: 3 * PER_PATIENT])
    assert patients.tolist() == np.repeat(range(3), PER_PATIENT).tolist()
    assert [KINDS[kind] for kind in kinds] == [
        cells.truth.names[label] for label in cells.truth.strata[: 3 * PER_PATIENT]
    ]
    assert (generate(patients=1, seed=1)[0] != images[:PER_PATIENT]).any()


def test_patients_differ_in_stain_and_light(cells: Source) -> None:
    assert cells.array is not None
    colour = cells.array.reshape(PATIENTS, PER_PATIENT, -1, 3).mean(2)
    within, between = colour.std(1).mean(), colour.mean(1).std(0).mean()
    assert between > 0.5 * within


def test_pixels_alone_do_not_tell_the_kinds(cells: Source) -> None:
    assert cells.array is not None
    assert cells.groups is not None
    x = cells.array.reshape(cells.n, -1)[:, ::4].astype(np.float32)
    known = cells.groups < 90
    x -= x[known].mean(0)
    model = KNeighborsClassifier(11, metric="cosine").fit(x[known], cells.truth.strata[known])
    score = balanced_accuracy_score(cells.truth.strata[~known], model.predict(x[~known]))
    assert 0.3 < score < 0.6
