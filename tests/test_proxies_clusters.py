"""Cluster learnability and purity against loops over samples, and what a patient's own votes would leak."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import balanced_accuracy_score, jaccard_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from autossl.proxies import clusters as module
from autossl.proxies.clusters import clid, cluster_learnability, kmeans, purity
from autossl.proxies.dimension import two_nn
from autossl.proxies.neighbours import unit_rows


def blobs(n: int, d: int, classes: int, seed: int, gap: float = 4.0) -> tuple[NDArray[Any], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    return (rng.normal(size=(n, d)) + gap * rng.normal(size=(classes, d))[y]).astype(np.float32), y


def threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info()]


def slow_names(
    labels: NDArray[Any], mass: NDArray[np.float64], groups: NDArray[Any] | None, balanced: bool
) -> NDArray[np.float64]:
    """Names the cluster of each sample by whoever may vote, one sample at a time."""
    names = np.empty(mass.shape)
    for i in range(len(mass)):
        seen = np.ones(len(mass), bool) if groups is None else groups != groups[i]
        votes = mass[seen & (labels == labels[i])].sum(axis=0)
        if balanced:
            totals = mass[seen].sum(axis=0)
            votes = np.divide(votes, totals, out=np.zeros(len(votes)), where=totals > 1e-12)
        best = np.isclose(votes, votes.max(), rtol=1e-7, atol=1e-9 * mass.sum() / max(1.0, mass.sum()))
        names[i] = best / best.sum()
    return names


def slow_agreement(mass: NDArray[np.float64], names: NDArray[np.float64]) -> tuple[float, float]:
    recalls, overlaps = [], []
    for c in range(mass.shape[1]):
        if mass[:, c].sum() == 0:
            continue
        both = (mass[:, c] * names[:, c]).sum()
        named = (mass.sum(axis=1) * names[:, c]).sum()
        recalls.append(both / mass[:, c].sum())
        overlaps.append(both / (mass[:, c].sum() + named - both))
    return float(np.mean(recalls)), float(np.mean(overlaps))


@given(
    n=st.integers(3, 60), d=st.integers(2, 6), classes=st.integers(1, 3), clusters=st.integers(1, 12),
    patients=st.integers(0, 15), soft=st.booleans(), balanced=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_purity_follows_its_definition(
    n: int, d: int, classes: int, clusters: int, patients: int, soft: bool, balanced: bool, seed: int
) -> None:
    z, y = blobs(n, d, classes, seed, 1.0)
    z[0] = z[1]
    rng = np.random.default_rng(seed)
    mass = np.eye(classes + 1)[y]  # one class more than there is
    if soft:
        mass = mass * 0.5 + 0.5 * rng.multinomial(7, [1 / classes] * classes + [0], n) / 7
        mass *= rng.integers(1, 3, (n, 1)) / 2  # pixels without labels
    groups = rng.integers(0, patients, n) if patients else None
    found = purity(z, mass if soft else y, groups, clusters=clusters, classes=classes + 1, balanced=balanced, seed=seed)
    names = slow_names(kmeans(unit_rows(z), clusters, seed), mass, groups, balanced)
    np.testing.assert_allclose(found.scores, names, atol=1e-6)
    assert (found.balanced_accuracy, found.miou) == pytest.approx(slow_agreement(mass, names))
    assert found.scores.dtype == np.float32
    assert found.scores.shape == (n, classes + 1)


def test_purity_is_what_scikit_learn_makes_of_the_names() -> None:
    z, y = blobs(300, 5, 4, 0, 1.5)
    found = purity(z, y, np.arange(300) // 3)
    predicted = found.scores.argmax(axis=1)
    whole = found.scores.max(axis=1) == 1  # no ties
    assert whole.mean() > 0.9
    again = slow_agreement(np.eye(4)[y[whole]], np.eye(4)[predicted[whole]])
    assert again[0] == pytest.approx(balanced_accuracy_score(y[whole], predicted[whole]))
    assert again[1] == pytest.approx(jaccard_score(y[whole], predicted[whole], average="macro"))
    assert found.balanced_accuracy > 0.6


def test_soft_labels_that_are_hard_are_the_same() -> None:
    z, y = blobs(120, 4, 3, 1)
    hard, soft = purity(z, y, seed=3), purity(z, np.eye(3)[y].astype(np.float32), seed=3)
    assert (hard.balanced_accuracy, hard.miou) == pytest.approx((soft.balanced_accuracy, soft.miou))
    assert hard.miou > 0.9


@pytest.mark.parametrize("balanced", [False, True])
def test_random_labels_give_chance_by_patient_and_show_the_leak_by_image(balanced: bool) -> None:
    rng = np.random.default_rng(77)
    honest, leaky = [], []
    for seed in range(30):
        patients = np.repeat(np.arange(150), 4)
        labels = (rng.random(150) < 0.3).astype(int)[patients]
        z = rng.normal(size=(150, 8))[patients] + 0.1 * rng.normal(size=(600, 8))
        honest.append(purity(z, labels, patients, clusters=60, balanced=balanced, seed=seed).balanced_accuracy)
        leaky.append(purity(z, labels, clusters=60, balanced=balanced, seed=seed).balanced_accuracy)
    assert abs(np.mean(honest) - 0.5) < 2 * np.std(honest) / np.sqrt(30) + 1 / 150
    assert np.mean(leaky) > 0.65


def test_rare_classes_are_named_where_votes_are_balanced() -> None:
    rng = np.random.default_rng(3)
    y = (np.arange(400) < 40).astype(int)
    z = np.concatenate([rng.normal(size=(400, 3)) + 2 * y[:, None], np.ones((400, 1))], axis=1)
    plain, even = (purity(z, y, clusters=6, balanced=balanced).balanced_accuracy for balanced in (False, True))
    assert even > plain


def test_one_group_and_clusters_of_one_patient_are_guesses() -> None:
    z, y = blobs(60, 4, 3, 4)
    alone = purity(z, y, np.zeros(60))
    assert alone.balanced_accuracy == pytest.approx(1 / 3)
    np.testing.assert_allclose(alone.scores, 1 / 3, rtol=1e-6)
    assert purity(z, y, y, clusters=3).balanced_accuracy < 0.4  # each class is one patient
    assert purity(z, y, clusters=60).balanced_accuracy == 1  # each sample names its own cluster
    assert purity(z[:1], y[:1], classes=2).balanced_accuracy == 1


@pytest.mark.parametrize("k", [1, 5])
def test_learnability_is_leave_one_out_accuracy_of_neighbours(k: int) -> None:
    z, _ = blobs(150, 5, 6, 5, 0.7)
    labels = kmeans(unit_rows(z), 8, 0)
    weights: Any = (lambda gap: np.exp((1 - gap) / 0.07)) if k > 1 else "uniform"
    votes = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=weights)
    predicted = cross_val_predict(votes, unit_rows(z).astype(np.float64), labels, cv=LeaveOneOut())
    assert cluster_learnability(z, clusters=8, k=k) == pytest.approx(np.mean(predicted == labels), abs=1e-9)


def test_learnability_tells_clusters_from_none() -> None:
    rng = np.random.default_rng(6)
    z, _ = blobs(300, 8, 10, 6, 8.0)
    tight, loose = cluster_learnability(z, clusters=10), cluster_learnability(rng.normal(size=(300, 40)), clusters=10)
    assert tight > 0.95
    assert loose < 0.6
    assert cluster_learnability(z, np.zeros(300), clusters=10) == 0  # nothing to learn from
    assert cluster_learnability(z[:1]) == 0
    assert cluster_learnability(np.ones((20, 3))) == 1  # collapse is learnable, see `clid`
    assert cluster_learnability(z, clusters=10, k=500) > 0.2  # k is cut to what there is


def test_patients_make_clusters_learnable() -> None:
    rng = np.random.default_rng(7)
    patients = np.repeat(np.arange(100), 4)
    z = rng.normal(size=(100, 30))[patients] + 0.2 * rng.normal(size=(400, 30))
    assert cluster_learnability(z, clusters=20) > cluster_learnability(z, patients, clusters=20) + 0.3


def test_both_parts_of_clid_stand_side_by_side() -> None:
    z, _ = blobs(200, 6, 5, 8)
    both = clid(z, seed=1)
    assert both.learnability == cluster_learnability(z, seed=1)
    assert both.dimension == two_nn(z, seed=1)


def test_kmeans_is_that_of_scikit_learn_and_leaves_threads_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y = blobs(400, 5, 4, 9, 8.0)
    once: Any = 1
    expected = KMeans(4, n_init=once, max_iter=50, random_state=0).fit(z).labels_
    fit, during = KMeans.fit, []

    def watched(model: KMeans, rows: NDArray[Any]) -> KMeans:
        during.extend(threads())
        return fit(model, rows)

    with threadpool_limits(2):
        before = threads()
        monkeypatch.setattr(KMeans, "fit", watched)
        np.testing.assert_array_equal(kmeans(z, 4, 0), expected)
        assert set(during) == {1}
        assert threads() == before != during
    monkeypatch.setattr(module, "FITTED", 200)
    drawn = kmeans(z, 4, 0)
    assert len(drawn) == 400
    for cluster in np.unique(drawn):
        assert len(np.unique(y[drawn == cluster])) == 1
    assert kmeans(np.ones((9, 2), np.float32), 4, 0).max() < 4


def test_bad_input_is_told_in_one_sentence() -> None:
    z = np.ones((4, 2))
    with pytest.raises(ValueError, match="z must be finite"):
        purity(np.full((4, 2), np.nan), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="z must be finite"):
        cluster_learnability(np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match=r"must lie in \[0, 2\), found -1 to 1"):
        purity(z, [0, 1, -1, 0], classes=2)
    with pytest.raises(ValueError, match=r"must have the shape \(4, classes\), found \(3, 2\)"):
        purity(z, np.ones((3, 2)))
    with pytest.raises(ValueError, match="must not be negative nor all 0"):
        purity(z, -np.ones((4, 2)))
    with pytest.raises(ValueError, match="clusters must be positive, found 0"):
        purity(z, [0, 1, 1, 0], clusters=0)
    with pytest.raises(ValueError, match="clusters must be at least 2, found 1"):
        cluster_learnability(z, clusters=1)
    with pytest.raises(ValueError, match="groups must hold one id"):
        purity(z, [0, 1, 1, 0], [1, 2])
