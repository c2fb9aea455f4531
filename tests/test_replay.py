"""The replay of searches over a table: what it plays, and what it says of a made-up one."""

import json

import numpy as np
import pytest

from studies.replay.__main__ import TIMES, WAYS, as_markdown, elsewhere, regrets, summary
from studies.replay.strategies import Play, default, play
from studies.replay.table import Cell, cells

METHODS = ("simclr", "byol", "cnn_mae", "genesis", "swav")
GAINS = (0.3, 0.2, 0.05, 0.0, 0.25)  # of accuracy at the last rung; the last two change places in one set
RUNGS = (4096, 12288, 36864)


def rows(gains: tuple[float, ...], noise: float, seed: int) -> dict[str, object]:
    """Rows of a set with two targets: truths rise with rungs, scores are truths and noise."""
    random = np.random.default_rng(seed)

    def told(gain: float, rung: int) -> dict[str, object]:
        truth = 0.5 + gain * (rung + 1) / 3
        scores = (truth + random.normal(0, noise, 3)).tolist()
        return {
            "proxies": {"score": scores, "se": [0.02] * 3, "knn": scores},
            "frozen": {"250": [truth] * 3, "999": [1]},
        }

    found: dict[str, object] = {"random untrained": {"rungs": [{"targets": {t: told(0, 0) for t in "ab"}}]}}
    for method, gain in zip(METHODS, gains, strict=True):
        rungs = [
            {"images": images, "busy": 2.0, "scoring": 2.0, "targets": {t: told(gain, rung) for t in "ab"}}
            for rung, images in enumerate(RUNGS)
        ]
        facts = {"start": "random", "method": method, "paradigm": method, "strength": "own", "rate": "own"}
        found[f"random {method} own own"] = {**facts, "whole": True, "rungs": rungs}
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    """A table of three sets: in the third another method is best."""
    folder = tmp_path_factory.mktemp("rows")
    for seed, (name, gains) in enumerate({"cells": GAINS, "pbc": GAINS, "marks": (0.2, 0.1, 0.0, 0.05, 0.4)}.items()):
        stored = {"settings": {"rungs": RUNGS}, "rows": rows(gains, 0.01, seed)}
        (folder / f"{name}.json").write_text(json.dumps(stored))
    return cells(folder)


def test_what_others_say_leaves_the_set_at_hand_out(found: list[Cell]) -> None:
    marks = next(cell for cell in found if cell.set == "marks")
    known = elsewhere(found, marks)
    assert [METHODS[at] for at in known.order()[:2]] == ["simclr", "swav"]
    assert known.mean[known.order()[0]] == 0  # the best of both others
    now = Play(marks, marks.whole, 0, np.random.default_rng(0), known.order(), known.spread())
    assert marks.regret(play(default, now)) == pytest.approx(0.5)  # .2 where .4 could be had


def test_a_shorter_time_trains_less_and_nobody_is_better_than_the_oracle(found: list[Cell]) -> None:
    played = regrets(found, WAYS, 6)
    for name, values in played.items():
        assert (values >= played["oracle"] - 1e-9).all(), name
        assert values[0].mean() > values[-1].mean() - 1e-9, name
    assert played["oracle"][TIMES.index(1.5)] == pytest.approx(0)
    assert played["static list"][-1] == pytest.approx(0, abs=0.01)  # time for all of five, and hardly any noise
    assert played["default all the time"][-1, [cell.set == "marks" for cell in found]] == pytest.approx(0.5)


def test_it_is_told_with_intervals_and_ranks(found: list[Cell]) -> None:
    told = summary(found, regrets(found, {name: WAYS[name] for name in ("today", "random search")}, 6))
    mean, low, high = told["ways"]["today"]["late"]
    assert low <= mean <= high
    assert told["ways"]["today"]["less"] == [0, 0, 0]
    assert told["proxies"]["score"][-1] > 0.95
    assert told["proxies"]["ceiling"][-1] == pytest.approx(1)
    assert "6 cells of 3 sets" in as_markdown(told)
