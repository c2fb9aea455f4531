"""Times the proxies against the matrix products that no method can avoid, and against scikit-learn.

    python studies/bench_proxies.py                      # n = 12,000, m = 3,400, d = 512, 8 classes
    python studies/bench_proxies.py --sklearn            # scikit-learn's times too (minutes)

All figures that are compared come from one run, round by round; the table shows medians and ratios.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.proxies import PENALTIES, bootstrap, collapse, knn_votes, ridge, spectrum, warm_up


@dataclass(frozen=True)
class Sample:
    """Made-up embeddings of a bank of patients with 1 to 8 images each, and of queries."""

    bank: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    queries: NDArray[np.float32]
    query_labels: NDArray[np.int64]
    classes: int


def sample(n: int, m: int, d: int, classes: int) -> Sample:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(n), rng.integers(1, 9, n))[:n]
    centres = 0.1 * rng.normal(size=(classes, d))
    labels, query_labels = rng.integers(0, classes, n), rng.integers(0, classes, m)
    bank = (centres[labels] + rng.normal(size=(n, d))).astype(np.float32)
    queries = (centres[query_labels] + rng.normal(size=(m, d))).astype(np.float32)
    return Sample(bank, labels, groups, queries, query_labels, classes)


def product(left: NDArray[np.float32], right: NDArray[np.float32]) -> None:
    """The whole similarity product by tiles into one buffer: the floor of k-NN."""
    buffer = np.empty((1024, len(right)), np.float32)
    for start in range(0, len(left), 1024):
        rows = left[start : start + 1024]
        np.matmul(rows, right.T, out=buffer[: len(rows)])


def gram_and_eigh(z: NDArray[np.float32]) -> None:
    centred = z - z.mean(axis=0, dtype=np.float64)
    np.linalg.eigh(centred.T @ centred)


def proxy_operations(s: Sample) -> dict[str, Callable[[], Any]]:
    fitted = ridge(s.bank, s.labels, classes=s.classes, penalties=[1e4]).predict(s.queries)
    query_groups = s.groups[: len(s.queries)]
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
        "1,000 patient bootstraps": lambda: bootstrap(s.query_labels, fitted, query_groups),
    }


def sklearn_operations(s: Sample) -> dict[str, Callable[[], Any]]:
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score
    from sklearn.neighbors import KNeighborsClassifier

    fitted = ridge(s.bank, s.labels, classes=s.classes, penalties=[1e4]).predict(s.queries)
    shares = np.exp(fitted) / np.exp(fitted).sum(axis=1, keepdims=True)

    def neighbours() -> None:
        KNeighborsClassifier(200, metric="cosine", weights="distance").fit(s.bank, s.labels).predict_proba(s.queries)

    def loop() -> None:  # 20 draws, counted as 1,000
        rng = np.random.default_rng(0)
        for _draw in range(20):
            rows = rng.integers(0, len(s.queries), len(s.queries))
            balanced_accuracy_score(s.query_labels[rows], fitted[rows].argmax(axis=1))
            roc_auc_score(s.query_labels[rows], shares[rows], multi_class="ovr")

    return {
        "scikit-learn k-NN, one (k, T)": neighbours,
        "scikit-learn RidgeClassifierCV, 45 penalties": lambda: RidgeClassifierCV(PENALTIES).fit(s.bank, s.labels),
        "scikit-learn, 20 bootstraps": loop,
    }


def seconds(operations: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in operations}
    for _round in range(rounds):
        for name, operation in operations.items():
            began = time.perf_counter()
            operation()
            times[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in times.items()}


# What each figure is divided by.
FLOORS = {
    "k-NN, 35 (k, T), m queries": "sgemm m n d",
    "k-NN, 35 (k, T), leave-patient-out": "sgemm n n d",
    "ridge, 45 penalties, leave-one-out": "Gram + eigh",
    "ridge, 45 penalties, leave-patient-out": "Gram + eigh",
    "collapse detectors": "Gram + eigh",
    "spectrum": "Gram + eigh",
    "scikit-learn k-NN, one (k, T)": "k-NN, 35 (k, T), m queries",
    "scikit-learn RidgeClassifierCV, 45 penalties": "ridge, 45 penalties, leave-one-out",
    "scikit-learn, 1,000 bootstraps": "1,000 patient bootstraps",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, size in {"n": 12_000, "m": 3_400, "d": 512, "classes": 8, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--sklearn", action="store_true", help="time scikit-learn too, once")
    arguments = parser.parse_args()
    made = sample(arguments.n, arguments.m, arguments.d, arguments.classes)
    print(f"kernels ready after {warm_up():.1f} s; n={arguments.n} m={arguments.m} d={arguments.d}")
    times = seconds(proxy_operations(made), arguments.rounds)
    if arguments.sklearn:
        times |= seconds(sklearn_operations(made), 1)
        times["scikit-learn, 1,000 bootstraps"] = 50 * times.pop("scikit-learn, 20 bootstraps")
    for name, value in times.items():
        floor = FLOORS.get(name)
        ratio = f"{value / times[floor]:8.2f} x {floor}" if floor else ""
        print(f"{name:<46} {value:8.3f} s {ratio}")


if __name__ == "__main__":
    main()
