"""Times the proxies against the matrix products that no method can avoid, and against other libraries.

    python -m studies.bench_proxies                      # n = 12,000, m = 3,400, d = 512, 8 classes
    python -m studies.bench_proxies --sklearn            # scikit-learn too, and whether both agree (10 minutes)
    uv run --with faiss-cpu python -m studies.bench_proxies --others   # neighbours by faiss (flat) and torch
    python -m studies.bench_proxies --memory             # peak memory of each, in processes of their own
    python -m studies.bench_proxies --large              # n = 1,000,000, d = 256
    python -m studies.bench_proxies --start              # the first call in a fresh process, and the first ever

All figures that are compared come from one run, round by round; the table shows medians and ratios.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.proxies import (
    KNN_KS,
    KNN_TEMPERATURES,
    PENALTIES,
    Queries,
    bootstrap,
    collapse,
    knn_votes,
    logistic,
    panel,
    ridge,
    spectrum,
    standardise,
    warm_up,
)
from studies import memory as memory_of_process

Operations = dict[str, Callable[[], Any]]
PANEL = (
    *("ridge", "ridge_auroc", "knn", "ncm", "logme", "h_score"),
    *("rankme", "participation", "stable_rank", "alpha_req"),
)

AREAS = ("balanced_accuracy", "macro_auroc")


@dataclass(frozen=True)
class Sample:
    """Made-up embeddings of a bank of patients with 1 to 8 images each, and of queries."""

    bank: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    queries: NDArray[np.float32]
    query_labels: NDArray[np.int64]
    query_groups: NDArray[np.int64]
    classes: int


def sample(n: int, m: int, d: int, classes: int) -> Sample:
    rng = np.random.default_rng(0)
    groups, query_groups = (np.repeat(np.arange(k), rng.integers(1, 9, k))[:k] for k in (n, m))
    centres = 0.1 * rng.standard_normal((classes, d), np.float32)
    labels, query_labels = rng.integers(0, classes, n), rng.integers(0, classes, m)
    bank, queries = rng.standard_normal((n, d), np.float32), rng.standard_normal((m, d), np.float32)
    bank += centres[labels]
    queries += centres[query_labels]
    return Sample(bank, labels, groups, queries, query_labels, query_groups, classes)


def product(left: NDArray[np.float32], right: NDArray[np.float32]) -> None:
    """The whole similarity product by tiles into one buffer: the floor of k-NN."""
    buffer = np.empty((1024, len(right)), np.float32)
    for start in range(0, len(left), 1024):
        rows = left[start : start + 1024]
        np.matmul(rows, right.T, out=buffer[: len(rows)])


def gram_and_eigh(z: NDArray[np.float32]) -> None:
    centred = z - z.mean(axis=0, dtype=np.float64)
    np.linalg.eigh(centred.T @ centred)


def proxy_operations(s: Sample) -> Operations:
    fitted = ridge(s.bank, s.labels, classes=s.classes, penalties=[1e4]).predict(s.queries)
    asked = Queries(s.queries, s.query_labels, s.query_groups)
    return {
        "sgemm m n d": lambda: product(s.queries, s.bank),
        "k-NN, 35 (k, T), m queries": lambda: knn_votes(s.bank, s.labels, s.queries, classes=s.classes),
        "sgemm n n d": lambda: product(s.bank, s.bank),
        "k-NN, 35 (k, T), leave-patient-out": lambda: knn_votes(s.bank, s.labels, classes=s.classes, groups=s.groups),
        "Gram + eigh": lambda: gram_and_eigh(s.bank),
        "ridge, 45 penalties, leave-one-out": lambda: ridge(s.bank, s.labels, classes=s.classes),
        "ridge, 45 penalties, leave-patient-out": lambda: ridge(s.bank, s.labels, s.groups, classes=s.classes),
        "collapse detectors": lambda: collapse(s.bank),
        "spectrum": lambda: spectrum(s.bank),
        "1,000 patient bootstraps": lambda: bootstrap(s.query_labels, fitted, s.query_groups, metrics=AREAS),
        "panel, m queries": lambda: panel(s.bank, s.labels, s.groups, asked, scores=PANEL),
        "panel, leave-patient-out": lambda: panel(s.bank, s.labels, s.groups, scores=PANEL),
        "logistic, path of penalties, 5 folds": lambda: logistic(
            standardise(s.bank), s.labels, s.groups, classes=s.classes
        ),
    }


# What each figure is divided by, one name or several.
FLOORS = {
    "k-NN, 35 (k, T), m queries": ("sgemm m n d",),
    "k-NN, 35 (k, T), leave-patient-out": ("sgemm n n d",),
    "ridge, 45 penalties, leave-one-out": ("Gram + eigh",),
    "ridge, 45 penalties, leave-patient-out": ("Gram + eigh",),
    "collapse detectors": ("Gram + eigh",),
    "spectrum": ("Gram + eigh",),
    "panel, m queries": ("sgemm m n d", "Gram + eigh"),
    "panel, leave-patient-out": ("sgemm n n d", "Gram + eigh"),
    "logistic, path of penalties, 5 folds": ("Gram + eigh",),
    "scikit-learn k-NN, one (k, T)": ("k-NN, 35 (k, T), m queries",),
    "scikit-learn RidgeClassifierCV, 45 penalties": ("ridge, 45 penalties, leave-one-out",),
    "scikit-learn, 1,000 bootstraps": ("1,000 patient bootstraps",),
    "scikit-learn panel, one after the other": ("panel, m queries",),
    "scikit-learn panel, one neighbour search": ("panel, m queries",),
    "faiss flat, 200 neighbours": ("k-NN, 35 (k, T), m queries",),
    "torch product and topk, 200 neighbours": ("k-NN, 35 (k, T), m queries",),
}


def sklearn_operations(s: Sample) -> Operations:
    from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score
    from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

    fitted = ridge(s.bank, s.labels, classes=s.classes, penalties=[1e4]).predict(s.queries)
    shares = np.exp(fitted) / np.exp(fitted).sum(axis=1, keepdims=True)

    def classifier() -> None:
        KNeighborsClassifier(200, metric="cosine", weights="distance").fit(s.bank, s.labels).predict_proba(s.queries)

    def neighbours() -> None:
        NearestNeighbors(n_neighbors=200, metric="cosine").fit(s.bank).kneighbors(s.queries)

    def loop() -> None:  # 20 draws, counted as 1,000
        rng = np.random.default_rng(0)
        for _draw in range(20):
            rows = rng.integers(0, len(s.queries), len(s.queries))
            balanced_accuracy_score(s.query_labels[rows], fitted[rows].argmax(axis=1))
            roc_auc_score(s.query_labels[rows], shares[rows], multi_class="ovr")

    return {
        "scikit-learn k-NN, one (k, T)": classifier,
        "scikit-learn neighbours": neighbours,
        "scikit-learn RidgeClassifierCV, 45 penalties": lambda: RidgeClassifierCV(PENALTIES).fit(s.bank, s.labels),
        "scikit-learn, 20 bootstraps": loop,
        "scikit-learn logistic, one C": lambda: LogisticRegression(C=1e-3).fit(s.bank, s.labels),
    }


def sklearn_panels(times: dict[str, float]) -> dict[str, float]:
    """What scikit-learn needs for the panel's k-NN, ridge and bootstraps alone, from the times of its parts."""
    loop = 50 * times.pop("scikit-learn, 20 bootstraps")
    rest = times["scikit-learn RidgeClassifierCV, 45 penalties"] + loop
    pairs = len(KNN_KS) * len(KNN_TEMPERATURES)
    return {
        "scikit-learn, 1,000 bootstraps": loop,
        "scikit-learn panel, one after the other": pairs * times["scikit-learn k-NN, one (k, T)"] + rest,
        "scikit-learn panel, one neighbour search": times["scikit-learn neighbours"] + rest,
    }


def similarity_weight(temperature: float, distance: NDArray[Any]) -> NDArray[Any]:
    weight: NDArray[Any] = np.exp((1 - distance) / temperature)
    return weight


def agreement(s: Sample) -> None:
    """Largest difference to scikit-learn, and how often the same class wins."""
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import KNeighborsClassifier

    votes = knn_votes(s.bank, s.labels, s.queries, classes=s.classes, balanced=False)
    weigh: Any = partial(similarity_weight, KNN_TEMPERATURES[2])
    for i, k in ((2, 10), (6, 200)):
        reference = KNeighborsClassifier(k, metric="cosine", weights=weigh).fit(s.bank, s.labels)
        compare(f"k-NN, k = {k}", votes[i, 2], reference.predict_proba(s.queries))
    fit = ridge(s.bank, s.labels, classes=s.classes, balanced=False, penalties=[1e3])
    reference = Ridge(alpha=1e3).fit(s.bank.astype(np.float64), np.eye(s.classes)[s.labels])
    compare("ridge", fit.predict(s.queries), reference.predict(s.queries))


def compare(name: str, ours: NDArray[Any], theirs: NDArray[Any]) -> None:
    same = np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1))
    print(f"{name:<46} max |difference| {np.abs(ours - theirs).max():.1e}, same class in {100 * same:.3f} %")


def other_operations(s: Sample) -> Operations:
    import torch

    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (s.bank, s.queries)]
    bank, queries = (torch.from_numpy(z) for z in unit)

    def by_torch() -> None:
        for part in torch.split(queries, 1024):
            (part @ bank.T).topk(200)

    found: Operations = {"torch product and topk, 200 neighbours": by_torch}
    try:
        import faiss  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        print("faiss is not installed: uv run --with faiss-cpu ...")
        return found
    index = faiss.IndexFlatIP(unit[0].shape[1])
    index.add(unit[0])
    return {**found, "faiss flat, 200 neighbours": lambda: index.search(unit[1], 200)}


def seconds(operations: Operations, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in operations}
    for _round in range(rounds):
        for name, operation in operations.items():
            began = time.perf_counter()
            operation()
            times[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in times.items()}


def show(times: dict[str, float]) -> None:
    for name, value in times.items():
        floors = FLOORS.get(name, ())
        known = floors and all(floor in times for floor in floors)
        ratio = f"{value / sum(times[f] for f in floors):8.2f} x ({' + '.join(floors)})" if known else ""
        print(f"{name:<46} {value:8.3f} s {ratio}")


def memory(arguments: argparse.Namespace) -> None:
    """Peak memory beyond the sample itself, one process an operation."""
    for name in proxy_operations(sample(50, 20, 4, 2)):
        size = [f"--{key}={getattr(arguments, key)}" for key in ("n", "m", "d", "classes")]
        print(
            subprocess.run(
                [sys.executable, "-m", "studies.bench_proxies", f"--peak={name}", *size], capture_output=True, text=True
            ).stdout,
            end="",
        )


def peak(name: str, s: Sample) -> None:
    warm_up()
    print(f"{name:<46} {extra(proxy_operations(s)[name]):8.0f} MB beyond {s.bank.nbytes / 1e6:.0f} MB of embeddings")


def extra(operation: Callable[[], Any]) -> float:
    """Peak memory of an operation beyond what was held before, in MB."""
    before = memory_of_process.resident()
    memory_of_process.forget_peak()
    operation()
    return memory_of_process.peak() - before


def large() -> None:
    """A million embeddings: k-NN and the panel judged on 3,400 queries."""
    s = sample(1_000_000, 3_400, 256, 8)
    asked = Queries(s.queries, s.query_labels, s.query_groups)
    operations: Operations = {
        "sgemm m n d": lambda: product(s.queries, s.bank),
        "Gram + eigh": lambda: gram_and_eigh(s.bank[:100_000]),
        "k-NN, 35 (k, T), m queries": lambda: knn_votes(s.bank, s.labels, s.queries, classes=s.classes),
        "panel, m queries": lambda: panel(s.bank, s.labels, s.groups, asked, scores=PANEL),
    }
    times: dict[str, float] = {}
    for name, operation in operations.items():
        used = extra(partial(lambda one: times.update(seconds(one, 1)), {name: operation}))
        print(f"{name:<46} {used:8.0f} MB beyond {s.bank.nbytes / 1e6:.0f} MB of embeddings")
    times["Gram + eigh"] *= 10  # of a tenth of the rows
    show(times)


def start() -> None:
    """The first call in a process whose kernels are compiled, and in one where nothing is."""
    code = (
        "import time, autossl.proxies as p; t = time.perf_counter(); s = p.warm_up(); "
        "print(f'{time.perf_counter() - t:.2f} s')"
    )
    with tempfile.TemporaryDirectory() as folder:
        for words in ("first ever", "first call in a process"):
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
            print(f"{words:<46} {found.stdout.strip()} {found.stderr.strip()[-300:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, size in {"n": 12_000, "m": 3_400, "d": 512, "classes": 8, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    for name in ("sklearn", "others", "memory", "large", "start"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.large or arguments.start or arguments.memory:
        large() if arguments.large else start() if arguments.start else memory(arguments)
        return
    made = sample(arguments.n, arguments.m, arguments.d, arguments.classes)
    if arguments.peak:
        peak(arguments.peak, made)
        return
    print(f"kernels ready after {warm_up():.1f} s; n={arguments.n} m={arguments.m} d={arguments.d}")
    times = seconds(proxy_operations(made), arguments.rounds)
    if arguments.others:
        times |= seconds(other_operations(made), arguments.rounds)
    if arguments.sklearn:
        times |= (parts := seconds(sklearn_operations(made), 1))
        times |= sklearn_panels(parts)
    show(times)
    if arguments.sklearn:
        agreement(made)


if __name__ == "__main__":
    main()
