"""Times the proxies on a GPU against the matrix products that no method can avoid, and against other libraries.

    python studies/bench_device.py                    # k-NN of 50,000 queries in 1,000,000; the rest at n = 50,000
    python studies/bench_device.py --n 100000 --m 5000 --d 512
    uv run --with faiss-gpu-cu12 python studies/bench_device.py      # neighbours by faiss too; cuML where installed

Nothing is printed that was not measured on the device named first; all that is compared comes from one run, round by
round, after one round that compiles. Without a GPU it says so and stops.
"""

import argparse
import time
from collections.abc import Callable
from importlib import import_module
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autossl.proxies import Queries, bootstrap, knn_votes, panel, ridge

Operations = dict[str, Callable[[], Any]]
TOP = 200  # neighbours of the largest pair of the grid
ROWS, COLUMNS = 2048, 32_768  # the tiles of proxies/device/selection.py

FLOORS = {
    "k-NN, 35 (k, T), m queries": "product m n d",
    "torch product and topk": "product m n d",
    "faiss flat": "product m n d",
    "cuML brute force": "product m n d",
    "ridge, 45 penalties, leave-one-out": "Gram, float64",
    "ridge, 45 penalties, leave-patient-out": "Gram, float64",
}

AREAS = ("balanced_accuracy", "macro_auroc")


def sample(n: int, d: int, classes: int, seed: int) -> tuple[torch.Tensor, NDArray[np.int64], NDArray[np.int64]]:
    """Made-up embeddings on the device, labels, and patients with 1 to 8 images each."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator("cuda").manual_seed(seed)
    groups = np.repeat(np.arange(n), rng.integers(1, 9, n))[:n]
    labels = rng.integers(0, classes, n)
    z = torch.randn((n, d), generator=generator, device="cuda")
    z += 0.1 * torch.eye(classes, d, device="cuda")[torch.from_numpy(labels).cuda()] * d**0.5
    return z, labels, groups


def tiles(bank: torch.Tensor, queries: torch.Tensor, then: Callable[[torch.Tensor], Any]) -> None:
    """The similarity product by the same tiles into one buffer, each handed to `then`."""
    buffer = torch.empty(ROWS * COLUMNS, device="cuda")
    for rows in torch.split(queries, ROWS):
        for part in torch.split(bank, COLUMNS):
            out = buffer[: len(rows) * len(part)].view(len(rows), len(part))
            then(torch.matmul(rows, part.T, out=out))


def topk(bank: torch.Tensor, queries: torch.Tensor) -> None:
    """The nearest by torch: topk of each tile, then of what the tiles left."""
    for rows in torch.split(queries, ROWS):
        kept: list[torch.Tensor] = []
        tiles(bank, rows, lambda found, kept=kept: kept.append(found.topk(min(TOP, found.shape[1])).values))  # type: ignore[misc]
        torch.cat(kept, dim=1).topk(min(TOP, len(bank)))


def neighbour_operations(n: int, m: int, d: int, classes: int) -> Operations:
    bank, labels, _ = sample(n, d, classes, 0)
    queries, _, _ = sample(m, d, classes, 1)
    unit, asked = (torch.nn.functional.normalize(z) for z in (bank, queries))
    return {
        "product m n d": lambda: tiles(unit, asked, lambda found: None),
        "k-NN, 35 (k, T), m queries": lambda: knn_votes(bank, labels, queries, classes=classes),
        "torch product and topk": lambda: topk(unit, asked),
        **others(unit, asked),
    }


def others(bank: torch.Tensor, queries: torch.Tensor) -> Operations:
    """Neighbours by faiss and cuML where they can be imported."""
    found: Operations = {}
    try:
        faiss = import_module("faiss")
        index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), bank.shape[1])
        index.add(bank.cpu().numpy())
        asked = queries.cpu().numpy()
        found["faiss flat"] = lambda: index.search(asked, TOP)
    except (ImportError, AttributeError) as error:
        print(f"without faiss: {error}")
    try:
        cuml, cupy = import_module("cuml.neighbors"), import_module("cupy")
        fitted = cuml.NearestNeighbors(n_neighbors=TOP, algorithm="brute", metric="cosine").fit(cupy.asarray(bank))
        found["cuML brute force"] = lambda: fitted.kneighbors(cupy.asarray(queries))
    except ImportError as error:
        print(f"without cuML: {error}")
    return found


def panel_operations(n: int, d: int, classes: int) -> Operations:
    z, labels, groups = sample(n, d, classes, 2)
    asked, query_labels, query_groups = sample(max(2, n // 4), d, classes, 3)
    scores = torch.randn((n, classes), device="cuda")
    gram = torch.randn((d, d), device="cuda", dtype=torch.float64)
    gram = gram @ gram.T
    in_memory = gram.cpu().numpy()
    return {
        "product n n d": lambda: tiles(z, z, lambda found: None),
        "Gram, float64": lambda: [part.double().T @ part.double() for part in torch.split(z, 8192)],
        "eigh d x d, NumPy": lambda: np.linalg.eigh(in_memory),
        "eigh d x d, torch": lambda: torch.linalg.eigh(gram),
        "ridge, 45 penalties, leave-one-out": lambda: ridge(z, labels, classes=classes),
        "ridge, 45 penalties, leave-patient-out": lambda: ridge(z, labels, groups, classes=classes),
        "1,000 bootstraps, accuracy and areas": lambda: bootstrap(labels, scores, groups, metrics=AREAS),
        "panel, leave-patient-out": lambda: panel(z, labels, groups),
        "panel, n / 4 queries": lambda: panel(z, labels, groups, Queries(asked, query_labels, query_groups)),
    }


def seconds(operations: Operations, rounds: int) -> dict[str, float]:
    """Medians, each from an idle device to an idle device."""
    times: dict[str, list[float]] = {name: [] for name in operations}
    for turn in range(rounds + 1):  # the first compiles kernels and fills the allocator
        for name, operation in operations.items():
            torch.cuda.synchronize()
            began = time.perf_counter()
            operation()
            torch.cuda.synchronize()
            if turn:
                times[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in times.items()}


def show(title: str, times: dict[str, float]) -> None:
    print(title)
    for name, value in times.items():
        floor = FLOORS.get(name)
        ratio = f"{value / times[floor]:8.2f} x {floor}" if floor else ""
        print(f"  {name:<42} {value:9.4f} s {ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, size in {"n": 1_000_000, "m": 50_000, "panel": 50_000, "d": 768, "classes": 8, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    a = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("This benchmark measures a GPU, and torch finds none here; there are no figures without one.")
    tf32 = "allowed" if torch.backends.cuda.matmul.allow_tf32 else "not allowed"
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, TF32 {tf32}")
    show(f"n={a.n} m={a.m} d={a.d}", seconds(neighbour_operations(a.n, a.m, a.d, a.classes), a.rounds))
    torch.cuda.empty_cache()
    show(f"n={a.panel} d={a.d}", seconds(panel_operations(a.panel, a.d, a.classes), a.rounds))
    print(f"peak memory on the device {torch.cuda.max_memory_allocated() / 2**30:.1f} GB (torch's allocator)")


if __name__ == "__main__":
    main()
