"""How well what a search sees at a rung ranks candidates by what they come to, and how well it could."""

import numpy as np

from autossl.proxies.correlation import weighted_kendall
from studies.replay.table import SCORE, Array, Cell, Elsewhere

MIXED = (SCORE, "knn", "auroc", "spearman")  # of these, whichever a target has


def seen(cell: Cell, rung: int, draw: int) -> dict[str, Array]:
    """Every proxy of all candidates at a rung, and the mean of standardised ones."""
    names = cell.candidates[0].proxies
    found = {name: np.array([c.proxies[name][rung, draw] for c in cell.candidates]) for name in names}
    for name in ("collapsed", "se"):
        found.pop(name, None)
    mixed = [found[name] for name in MIXED if name in found]
    found["mixture"] = np.mean([(x - x.mean()) / (x.std() or 1.0) for x in mixed], axis=0)
    return found


def agreement(cell: Cell, known: Elsewhere) -> dict[str, list[float]]:
    """Weighted Kendall with the truth at the last rung, by rung: of each proxy, of the static list, and the ceiling.

    The ceiling is that of the truth on one draw of labels with the mean of the others.
    """
    truth = np.array([c.truth for c in cell.candidates])
    rungs, draws = cell.candidates[0].truths.shape  # of the truth
    found: dict[str, list[float]] = {"static list": [weighted_kendall(-known.mean, truth)] * rungs}
    for rung in range(rungs):
        told = [seen(cell, rung, draw) for draw in range(cell.draws)]
        for name in told[0]:
            found.setdefault(name, []).append(float(np.nanmean([weighted_kendall(t[name], truth) for t in told])))
    last = np.array([c.truths[-1] for c in cell.candidates])
    each = [weighted_kendall(last[:, d], np.delete(last, d, axis=1).mean(1)) for d in range(draws)]
    found["ceiling"] = [float(np.mean(each))] * rungs
    return found


def tuned(cell: Cell) -> float:
    """Weighted Kendall of frozen with fine-tuned truth, of those that were fine-tuned; NaN of fewer than four."""
    pairs = [(c.truth, c.tuned) for c in cell.candidates if c.tuned is not None]
    return weighted_kendall(*np.array(pairs).T) if len(pairs) > 3 else float("nan")
