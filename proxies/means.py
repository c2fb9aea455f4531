"""Class means as classifiers: the nearest mean with patients left out, and few-shot episodes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, group_index, matrix
from autossl.proxies.neighbours import unit_rows
from autossl.proxies.tiles import spans

QUERIES = 15  # of each class in an episode at most
TILE = 4096  # samples at a time


def nearest_mean(
    z: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None, queries: ArrayLike | None = None, *, classes: int
) -> NDArray[np.float32]:
    """Cosine of each query with the mean of each class's unit rows, (m, classes); the largest is the class predicted.

    z (n, d), y (n,) in [0, classes), queries (m, d) of other patients. Without queries every sample is scored by the
    others, exactly: those of its group (patient; without groups the sample itself) are taken out of each mean. A class
    without other samples has cosine -1. Cost n d c; memory 8 * 4096 d bytes beside the unit rows. Snell et al. 2017
    (arXiv 1703.05175) for the mean as a classifier.
    """
    rows = unit_rows(matrix(z))
    labels = class_index(y, classes, len(rows))
    sums = np.stack([rows[labels == c].sum(axis=0, dtype=np.float64) for c in range(classes)])
    if queries is not None:
        asked = unit_rows(matrix(queries, "queries"))
        if asked.shape[1] != rows.shape[1]:
            raise ValueError(f"queries must have the {rows.shape[1]} dimensions of z, found {asked.shape[1]}.")
        return _cosines(asked, sums)
    scores = _cosines(rows, sums)
    owner = group_index(groups, len(rows))
    order = np.lexsort((labels, owner))
    for start, stop in _whole_groups(owner[order]):
        _without_own(rows, labels, owner, order[start:stop], sums, scores)
    return scores


def _cosines(rows: NDArray[np.float32], sums: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(sums, axis=1)
    directions = sums / np.maximum(lengths, 1e-30)[:, None]
    scores: NDArray[np.float32] = rows @ directions.T.astype(np.float32)
    scores[:, lengths < 1e-6] = -1
    return scores


def _whole_groups(owner: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cuts samples in the order of their groups into tiles of whole groups, TILE samples or one group each."""
    ends = np.append(np.flatnonzero(np.diff(owner)) + 1, len(owner))
    cuts, start = [], 0
    for before, end in zip(np.append(0, ends[:-1]), ends, strict=True):
        if end - start > TILE and before > start:
            cuts.append((start, int(before)))
            start = int(before)
    return [*cuts, (start, len(owner))]


def _without_own(
    rows: NDArray[np.float32],
    labels: NDArray[np.int64],
    owner: NDArray[np.int64],
    index: NDArray[np.int64],
    sums: NDArray[np.float64],
    scores: NDArray[np.float32],
) -> None:
    """Corrects the scores of these samples, sorted by group and class, where a mean holds some of their own group."""
    changes = (np.diff(owner[index], prepend=-1) != 0) | (np.diff(labels[index], prepend=-1) != 0)
    firsts = np.flatnonzero(changes)  # of each pair of a group and a class
    own = np.add.reduceat(rows[index].astype(np.float64), firsts)
    rest = sums[labels[index[firsts]]] - own
    lengths = np.linalg.norm(rest, axis=1)
    rest /= np.maximum(lengths, 1e-30)[:, None]
    pair_group = owner[index[firsts]]
    begins = np.searchsorted(pair_group, owner[index], "left")
    counts = np.searchsorted(pair_group, owner[index], "right") - begins
    member = np.repeat(np.arange(len(index)), counts)  # each sample with each pair of its group
    pair = np.arange(len(member)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(begins, counts)
    for start, stop in spans(len(member), TILE):
        who, which = member[start:stop], pair[start:stop]
        found = np.einsum("ij,ij->i", rows[index[who]].astype(np.float64), rest[which])
        scores[index[who], labels[index[firsts[which]]]] = np.where(lengths[which] < 1e-6, -1, found)


@dataclass(frozen=True)
class Episodes:
    """Mean balanced accuracy over few-shot episodes and its standard error; NaN where no episode could be drawn."""

    value: float
    se: float
    values: NDArray[np.float64]  # of each episode


def few_shot(
    z: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    classes: int,
    shots: int = 5,
    episodes: int = 100,
    seed: int = 0,
) -> Episodes:
    """Balanced accuracy of the nearest class mean from `shots` labelled samples of each class.

    Each episode draws a support of `shots` samples a class from half of its patients (groups) and up to 15 queries a
    class from the other half; a class of one patient is left out. z (n, d), y (n,). In [0, 1],
    chance is 1 / classes. The standard error is that over episodes, for these samples. Vinyals et al. 2016
    (arXiv 1606.04080) for episodes.
    """
    rows = unit_rows(matrix(z))
    labels = class_index(y, classes, len(rows))
    owner = group_index(groups, len(rows))
    if shots < 1 or episodes < 1:
        raise ValueError(f"shots and episodes must be positive, found {shots} and {episodes}.")
    rng = np.random.default_rng(seed)
    found = np.array([_episode(rows, labels, owner, classes, shots, rng) for _ in range(episodes)])
    found = found[np.isfinite(found)]
    if not found.size:
        return Episodes(float("nan"), float("nan"), found)
    return Episodes(float(found.mean()), float(found.std() / np.sqrt(len(found))), found)


def _episode(
    rows: NDArray[np.float32],
    labels: NDArray[np.int64],
    owner: NDArray[np.int64],
    classes: int,
    shots: int,
    rng: np.random.Generator,
) -> float:
    order = rng.permutation(len(rows))
    shown = _half(labels, owner, classes, rng)[owner[order]]
    support = [order[shown & (labels[order] == c)][:shots] for c in range(classes)]
    asked = [order[~shown & (labels[order] == c)][:QUERIES] for c in range(classes)]
    tested = [c for c in range(classes) if len(asked[c]) and len(support[c])]
    if len(tested) < 2:
        return float("nan")
    sums = np.stack([rows[support[c]].sum(axis=0, dtype=np.float64) for c in tested])
    return float(np.mean([np.mean(_cosines(rows[asked[c]], sums).argmax(1) == k) for k, c in enumerate(tested)]))


def _half(
    labels: NDArray[np.int64], owner: NDArray[np.int64], classes: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which groups support an episode: half of those of every class, so that the same classes are always asked."""
    held = np.zeros((int(owner.max()) + 1, classes), bool)
    held[owner, labels] = True
    side = np.full(len(held), -1)
    for c in np.argsort(held.sum(axis=0), kind="stable"):  # rare classes first
        free = rng.permutation(np.flatnonzero(held[:, c] & (side < 0)))
        side[free[: (len(free) + 1) // 2]], side[free[(len(free) + 1) // 2 :]] = 1, 0
    supports: NDArray[np.bool_] = side == 1
    return supports
