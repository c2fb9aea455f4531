"""Embeddings on a device score what they score in memory: on a GPU, or on the CPU in Numba's simulator of one."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import cycle
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autossl.proxies import Queries, bootstrap, knn_votes, panel, ridge, standardise
from autossl.proxies.collapse import collapse_of
from autossl.proxies.dispatch import on_device
from autossl.proxies.leave_out import decompose, leave_out
from autossl.proxies.means import nearest_mean
from autossl.proxies.moments import moments

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
if SIMULATED:  # its threads take turns at one lock, and on two cores took four times as long
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
kernels = pytest.mark.skipif(
    not (SIMULATED or torch.cuda.is_available()), reason="neither a GPU nor NUMBA_ENABLE_CUDASIM=1 is here"
)
Place = Callable[[Any], Any]


@pytest.mark.skipif(SIMULATED, reason="this is the simulator")
def test_all_of_this_in_the_simulator() -> None:
    """The variable counts only before numba is imported, so the tests run in a process of their own."""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.skipif(SIMULATED, reason="it has been asked")
def test_nothing_for_devices_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, numpy as np, autossl.proxies as p; z = np.random.default_rng(0).normal(size=(20, 3)); "
        "p.panel(z, np.arange(20) % 2, draws=2); assert not any('proxies.device' in m for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_arrays_in_memory_are_not_on_a_device() -> None:
    for array in (np.ones((2, 2)), torch.ones(2, 2), torch.ones(2, 2, requires_grad=True), [[1.0]], None):
        assert not on_device(array)


class OneAtATime(dict[Any, Any]):
    """The simulator's shared arrays, each made by the first thread that asks; without a lock two may make one each."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def get(self, name: Any, _: Any = None) -> Any:
        self._lock.acquire()
        found = super().get(name)
        if found is not None:
            self._lock.release()
        return found

    def __setitem__(self, name: Any, made: Any) -> None:
        super().__setitem__(name, made)
        self._lock.release()


@pytest.fixture(autouse=True)
def _one_makes_a_shared_array(monkeypatch: pytest.MonkeyPatch) -> None:
    if SIMULATED:
        shared = import_module("numba.cuda.simulator.kernelapi").FakeCUDAShared
        begin = shared.__init__

        def with_lock(self: Any, size: int) -> None:
            begin(self, size)
            self._allocations = OneAtATime()

        monkeypatch.setattr(shared, "__init__", with_lock)


@pytest.fixture(autouse=True)
def _short_turns() -> Iterator[None]:
    """The simulator's threads wait for each other; with the usual 5 ms turns every barrier takes as long."""
    before = sys.getswitchinterval()
    if SIMULATED:
        sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """In the simulator, which is slow, tests of one case have it twice; of those of several each second is torch's."""
    if "put" in metafunc.fixturenames and SIMULATED and not [*metafunc.definition.iter_markers("parametrize")]:
        metafunc.parametrize("put", LIBRARIES, indirect=True)


LIBRARIES = ("numpy", "torch")
turn = cycle(LIBRARIES)


@pytest.fixture
def put(request: pytest.FixtureRequest) -> Place:
    """Puts an array on the device: a GPU, or what passes for one, by NumPy's operations or by torch's."""
    if not SIMULATED:
        return lambda array: torch.as_tensor(np.asarray(array)).cuda()
    from autossl.proxies.device import StandIn

    library = request.param if hasattr(request, "param") else next(turn)
    if library == "numpy":
        return lambda array: StandIn(np.asarray(array))
    return lambda array: StandIn(torch.as_tensor(np.asarray(array)))


def module_of(name: str) -> Any:
    """A module of the subpackage; some are hidden by a function of that name."""
    return import_module(f"autossl.proxies.device.{name}".rstrip("."))


def sample(seed: int, n: int, d: int, classes: int, patients: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, classes, n), rng.integers(0, patients, n)
    return (rng.normal(size=(n, d)) + np.eye(classes, d)[labels]).astype(np.float32), labels, groups


@kernels
@pytest.mark.parametrize(
    ("n", "classes", "patients", "balanced", "ties"),
    [(17, 3, 6, True, False), (13, 4, 2, False, True), (8, 1, 8, True, True), (9, 2, 1, True, False)],
)
def test_votes_without_queries(put: Place, n: int, classes: int, patients: int, balanced: bool, ties: bool) -> None:
    z, labels, groups = sample(n, n, 3, classes, patients)
    if ties:
        z = np.eye(3, dtype=np.float32)[labels % 3]  # similarities are exactly 0 or 1
    named: dict[str, Any] = {"classes": classes + 1, "groups": groups, "balanced": balanced, "ks": (5, 1, 100)}
    named |= {"temperatures": (0.07, 0.5)}
    expected = knn_votes(z, labels, **named)
    found = knn_votes(put(z), labels, **named)
    assert type(found) is np.ndarray
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-5)


@kernels
@pytest.mark.parametrize(("grouped", "dtype"), [(True, np.float16), (False, np.float64)])
def test_votes_of_queries(put: Place, grouped: bool, dtype: type) -> None:
    z, labels, groups = sample(1, 37, 5, 3, 6)
    asked, _, query_groups = sample(2, 8, 5, 3, 8)
    z, asked = z.astype(dtype), asked.astype(dtype)
    named: dict[str, Any] = {"classes": 3, "ks": (1, 7), "temperatures": (0.1,)}
    if grouped:
        named |= {"groups": groups, "query_groups": query_groups}
    expected = knn_votes(z, labels, asked, **named)
    for queries in (put(asked), asked):
        np.testing.assert_allclose(knn_votes(put(z), labels, queries, **named), expected, atol=2e-5)


@kernels
@pytest.mark.parametrize("shared", [0, 4096])
def test_tiles_and_candidates_that_overflow(put: Place, monkeypatch: pytest.MonkeyPatch, shared: int) -> None:
    selection, module = module_of("selection"), module_of("knn")
    # Similarities rise with the index, so that every bank item exceeds the floor.
    angle = np.linspace(1.5, 0, 110)
    z, labels = np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32), np.arange(110) % 3
    asked = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    named: dict[str, Any] = {"classes": 3, "ks": (1, 9), "temperatures": (0.1,)}
    monkeypatch.setattr(selection, "SHARED", shared)
    monkeypatch.setattr(selection, "TILE_COLUMNS", 49)
    for part in (selection, module):
        monkeypatch.setattr(part, "TILE_ROWS", 2)
    expected = knn_votes(z, labels, asked, **named)
    np.testing.assert_allclose(knn_votes(put(z), labels, asked, **named), expected, atol=2e-5)


@kernels
def test_zero_and_huge_rows(put: Place) -> None:
    z = np.array([[0, 0], [3e38, 3e38], [1e-38, 0], [1, 1]], np.float32)
    expected = knn_votes(z, [0, 1, 0, 1], classes=2)
    np.testing.assert_allclose(knn_votes(put(z), [0, 1, 0, 1], classes=2), expected, atol=2e-5)


@kernels
@pytest.mark.parametrize(
    ("n", "d", "patients"), [(60, 7, 25), (200, 5, 4), (150, 90, 4), (120, 140, 30), (50, 6, 1), (60, 9, 0)]
)
def test_ridge(put: Place, n: int, d: int, patients: int) -> None:
    """Small groups, groups that are solved by the library, groups that are refitted, n < d, one group, none."""
    z, labels, groups = sample(n + d, n, d, 3, max(patients, 1))
    z[:, 0] = 1  # a constant column
    owner = groups if patients else None
    expected = ridge(z, labels, owner, classes=4, penalties=np.logspace(-2, 4, 5))
    found = ridge(put(z), labels, owner, classes=4, penalties=np.logspace(-2, 4, 5))
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-8)
    assert found.penalty == expected.penalty


@kernels
def test_ridge_in_blocks(put: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_of("ridge"), "SCORE_BYTES", 1)
    z, labels, groups = sample(3, 80, 6, 3, 30)
    for balanced in (True, False):
        named: dict[str, Any] = {"classes": 3, "balanced": balanced, "penalties": [1e-2, 1, 10, 1e4]}
        expected, found = ridge(z, labels, groups, **named), ridge(put(z), labels, groups, **named)
        np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


@kernels
def test_ridge_of_values(put: Place) -> None:
    z, _, groups = sample(4, 70, 6, 2, 20)
    targets = np.column_stack([z[:, 0] + z[:, 1], z[:, 2] ** 2])
    expected, found = ridge(z, targets, groups), ridge(put(z), targets, groups)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


@kernels
def test_each_road_of_groups_is_taken(put: Place) -> None:
    z, labels, _ = sample(5, 220, 70, 3, 2)
    owner = np.repeat([0, 1, 2, 3], [130, 40, 30, 20])  # refitted, solved by the library, and two by the kernel
    assert [len(batch) for batch in module_of("leave_out")._batches(np.bincount(owner))] == [2, 1, 1]
    weights, path = 220 / (3 * np.bincount(labels)[labels]), np.array([0.1, 10.0])
    problem = decompose(z, np.eye(3)[labels], weights, recentre=True)
    rows = module_of("arrays").rows_of(put(z))
    found = rows.library.download(module_of("leave_out").leave_out(problem, rows, owner, path))
    np.testing.assert_allclose(found, leave_out(problem, owner, path), atol=1e-5)


@kernels
@pytest.mark.parametrize(("n", "classes", "patients"), [(45, 3, 12), (40, 4, 0), (30, 2, 1)])
def test_bootstrap(put: Place, monkeypatch: pytest.MonkeyPatch, n: int, classes: int, patients: int) -> None:
    monkeypatch.setattr(module_of("bootstrap"), "SLAB_BYTES", 1)  # of 64 draws each
    rng = np.random.default_rng(n)
    scores = np.round(rng.normal(size=(n, classes)), 1).astype(np.float32)  # with ties
    labels = rng.integers(0, classes - 1, n)  # the last class is absent
    groups = rng.integers(0, patients, n) if patients else None
    metrics = ("macro_auroc", "accuracy", "average_precision", "balanced_accuracy")
    expected = bootstrap(labels, scores, groups, metrics=metrics, draws=70, seed=3)
    found = bootstrap(labels, put(scores), groups, metrics=metrics, draws=70, seed=3)
    assert list(found) == list(metrics)
    for metric in metrics:
        np.testing.assert_allclose(found[metric], expected[metric], atol=1e-12, err_msg=metric)


@kernels
@pytest.mark.parametrize("patients", [0, 1, 9])
def test_nearest_mean(put: Place, patients: int) -> None:
    device = module_of("")
    z, labels, groups = sample(7, 32, 4, 3, max(patients, 1))
    labels[labels == 2] = np.where(np.arange(32) == np.flatnonzero(labels == 2)[0], 2, 0)[labels == 2]  # one sample
    owner = groups if patients else None
    expected = nearest_mean(z, labels, owner, classes=4)
    np.testing.assert_allclose(np.asarray(device.nearest_mean(put(z), labels, owner, classes=4)), expected, atol=1e-5)
    expected = nearest_mean(z, labels, None, z[:5], classes=4)
    for queries in (z[:5], put(z[:5])):
        found = np.asarray(device.nearest_mean(put(z), labels, None, queries, classes=4))
        np.testing.assert_allclose(found, expected, atol=1e-5)


@kernels
@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 30)])
def test_moments_collapse_and_standardise(put: Place, n: int, d: int) -> None:
    device = module_of("")
    z, labels, _ = sample(8, n, d, 3, 5)
    z[:, 1] = 0.1
    z += 5
    expected, found = moments(z, labels, 4), device.moments(put(z), labels, 4)
    for part in ("scatter", "balanced", "sums", "mean", "sizes", "fourth"):
        np.testing.assert_allclose(getattr(found, part), getattr(expected, part), atol=1e-8, err_msg=part)
    seen, known = device.collapse_of(device.rows_of(put(z)), 3.0), collapse_of(z, 3.0)
    assert (seen.std_ratio, seen.cosine) == pytest.approx((known.std_ratio, known.cosine), abs=1e-6)
    assert seen.collapsed == known.collapsed
    scaled: Any = standardise(put(z), z[: n // 2])
    assert on_device(scaled)
    np.testing.assert_allclose(device.rows_of(scaled).in_memory, standardise(z, z[: n // 2]), atol=1e-5)


@kernels
@pytest.mark.parametrize("queries", [False, True])
def test_panel(put: Place, queries: bool) -> None:
    device = module_of("")
    z, labels, groups = sample(9, 24, 5, 3, 9)
    asked, query_labels, query_groups = sample(10, 7, 5, 3, 4)
    of = Queries(asked, query_labels, query_groups), Queries(put(asked), query_labels, query_groups)
    expected = panel(z, labels, groups, of[0] if queries else None, draws=20)
    rows = device.rows_of(put(z))
    found = panel(cast(Any, rows), labels, groups, of[1] if queries else None, draws=20)
    assert "in_memory" not in rows.__dict__  # the embeddings were never copied from the device
    assert found.readings.keys() == expected.readings.keys()
    for name, reading in found.readings.items():
        # far above these few rows' eigenvalues float32 leaves ties, which rounding breaks either way
        off = 5e-3 if name == "ridge_auroc" else 1e-6
        assert reading.value == pytest.approx(expected[name].value, rel=1e-5, abs=off, nan_ok=True), name
        assert reading.se == pytest.approx(expected[name].se, rel=1e-5, abs=off, nan_ok=True), name


@kernels
def test_panel_of_scores_without_a_form_for_devices(put: Place) -> None:
    z, labels, groups = sample(11, 30, 40, 2, 10)  # fewer samples than dimensions, too
    names = ("ridge", "gbc", "label_cka", "logistic")
    expected, found = (panel(rows, labels, groups, scores=names, draws=10) for rows in (z, put(z)))
    for name in names:
        assert found[name].value == pytest.approx(expected[name].value, rel=1e-5, abs=1e-6), name


@kernels
def test_rows_are_read_in_place(put: Place) -> None:
    rows_of, array = module_of("arrays").rows_of, put(np.ones((3, 2), np.float32))
    rows = rows_of(array)
    assert rows_of(rows) is rows
    bare = array.array if SIMULATED else array
    bare[1, 1] = 7
    assert rows.library.download(rows.data)[1, 1] == 7
    if isinstance(bare, torch.Tensor):
        for odd in (bare.to(torch.bfloat16), bare.clone().requires_grad_()):
            kept = rows_of(type(array)(odd) if SIMULATED else odd)
            assert kept.in_memory[1, 1] == 7


@kernels
def test_bad_input_is_told_in_one_sentence(put: Place) -> None:
    rows_of = module_of("arrays").rows_of
    with pytest.raises(ValueError, match=r"finite, found NaN or infinity in 1 rows \(the first is row 2\)"):
        knn_votes(put(np.array([[1, 1], [1, 1], [1, np.nan]])), [0, 0, 0], classes=1)
    with pytest.raises(ValueError, match=r"must be a matrix .* found \(4,\)"):
        rows_of(put(np.ones(4)))
    with pytest.raises(ValueError, match="must hold real numbers"):
        rows_of(put(np.ones((2, 2), np.complex64)))
    with pytest.raises(ValueError, match="dimensions of z, found 3"):
        knn_votes(put(np.ones((4, 2))), [0, 1, 1, 0], np.ones((1, 3)), classes=2)
    with pytest.raises(ValueError, match=r"must lie in \[0, 2\), found -1 to 1"):
        ridge(put(np.ones((4, 2))), [0, 1, -1, 0], classes=2)
    with pytest.raises(ValueError, match="metrics must be among"):
        bootstrap([0, 1], put(np.ones((2, 2))), metrics=("nothing",))
    with pytest.raises(ValueError, match="torch tensors or cupy arrays, found int"):
        rows_of(3)
