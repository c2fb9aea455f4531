"""The built-in sample of volumes: repeatable, synthetic by its own word, and hard enough to need learning."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from autossl.data import Source, open_data
from autossl.data.dataset import Pixels
from autossl.data.samples.lesions import KINDS, PATIENTS, PER_PATIENT, SIZE, generate


@pytest.fixture(scope="module")
def lesions() -> Source:
    return open_data("sample:volumes")


def test_it_is_what_its_description_says(lesions: Source) -> None:
    assert lesions.array is not None
    assert lesions.array.shape == (PATIENTS * PER_PATIENT, SIZE, SIZE, SIZE, 1)
    assert lesions.array.dtype == np.uint8
    assert lesions.truth.names == KINDS
    assert lesions.has_patients
    assert np.bincount(lesions.groups).tolist() == [PER_PATIENT] * PATIENTS
    assert any("synthetic" in note for note in lesions.notes)
    assert np.bincount(lesions.truth.strata).min() > 200
    assert ((lesions.array == 0) | (lesions.array == 255)).mean() < 0.01


def test_the_same_seed_gives_the_same_volumes(lesions: Source) -> None:
    volumes, kinds, patients = generate(patients=2)
    assert lesions.array is not None
    np.testing.assert_array_equal(volumes, lesions.array[: 2 * PER_PATIENT, ..., 0])
    assert patients.tolist() == np.repeat(range(2), PER_PATIENT).tolist()
    assert [KINDS[kind] for kind in kinds] == [
        lesions.truth.names[label] for label in lesions.truth.strata[: 2 * PER_PATIENT]
    ]
    assert (generate(patients=1, seed=1)[0] != volumes[:PER_PATIENT]).any()


def test_brightness_and_voxels_do_not_tell_the_kinds_but_shells_around_the_middle_do(lesions: Source) -> None:
    """There is something to learn: how the parts lie to each other."""
    assert lesions.array is not None
    assert lesions.has_patients
    known = lesions.groups < 180
    truth = lesions.truth.strata[~known]
    voxels = lesions.array.reshape(lesions.n, -1)[:, ::4].astype(np.float32)
    voxels -= voxels[known].mean(0)
    plain = KNeighborsClassifier(11, metric="cosine").fit(voxels[known], lesions.truth.strata[known])
    assert balanced_accuracy_score(truth, plain.predict(voxels[~known])) < 0.5

    def by_forest(features: NDArray[np.float64]) -> float:
        forest = RandomForestClassifier(100, random_state=0).fit(features[known], lesions.truth.strata[known])
        return float(balanced_accuracy_score(truth, forest.predict(features[~known])))

    assert by_forest(np.quantile(lesions.array.reshape(lesions.n, -1), np.linspace(0, 1, 21), axis=1).T) < 0.6
    assert by_forest(_shells(lesions.array[..., 0])) > 0.7


def _shells(volumes: Pixels) -> NDArray[np.float64]:
    """(n, 26) mean and spread of smoothed values by distance from the middle, less the mean of the volume."""
    axis = np.arange(SIZE) - (SIZE - 1) / 2
    radius = np.sqrt(sum(np.meshgrid(axis**2, axis**2, axis**2))).astype(int).ravel()
    order = np.argsort(radius, kind="stable")
    edges = np.searchsorted(radius[order], range(13))
    smooth = uniform_filter(volumes.astype(np.float32), 3, axes=(1, 2, 3)).reshape(len(volumes), -1)[:, order]
    smooth -= smooth.mean(1, keepdims=True)
    shells = np.split(smooth, edges[1:], axis=1)
    return np.stack([f(shell, axis=1) for shell in shells for f in (np.mean, np.std)], axis=1)
