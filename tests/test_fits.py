"""The fits of an arm: they end when more passes do not help, and after a kill they go on as they would have."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from autossl.finish import baselines, fits
from autossl.finish.baselines import Fitted, untrained
from autossl.finish.fits import OWN, Fits, OneFold, Scheme
from autossl.finish.folds import LAST, folds_of
from autossl.finish.soup import soup as average
from autossl.finish.trained import trained
from autossl.model.entrants import SOUPS, TUNED
from autossl.proxies import Outcomes
from autossl.targets import Judged
from autossl.train import resumable
from autossl.train.resumable import Terms
from autossl.trials.context import Context, open_context
from tests.processes import Killed, KilledAt
from tests.test_report import STATE, begin

AMPLE = Terms(1e6)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """A study of 150 small images before its search, and short runs on its labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "LABEL_PASSES", 2)
        patch.setattr(fits, "FIRST_STEPS", 1)
        yield open_context(
            begin(tmp_path_factory.mktemp("fits") / "run", {**STATE, "costs": {"supervised": 1e-3, "embed": 0.0}})
        )


class Scored(Fits):
    """Fits that take `second` for each pass, with these shares of right answers after so many passes."""

    shares: dict[int, float]
    second = 1.0

    def judged(self, number: int, fold: int) -> OneFold | None:
        rows = self.folds.rows[self.folds.parts(fold)[1]]
        labels = self.context.data.truth.strata[rows]
        places = np.random.default_rng(round(self.passes)).permutation(len(rows))
        right = places < self.shares[round(self.passes)] * len(rows)
        scores = np.eye(labels.max() + 1)[np.where(right, labels, (labels + 1) % (labels.max() + 1))]
        encoder = self.start()
        seconds = self.second * self.passes
        images = round(self.passes * (len(self.folds.rows) - len(rows)))
        head = self.context.judged.readout(encoder, self.context.truth(rows))
        self.spent += seconds
        return OneFold(
            Fitted(encoder, head, images, seconds, len(self.folds.rows) - len(rows)),
            {OWN: scores},
            Outcomes.of(labels, scores.astype(np.float32)),
        )


@pytest.mark.parametrize(
    ("shares", "seconds", "passes"),
    [
        ({2: 0.3, 4: 0.6, 8: 0.95, 16: 0.9}, 1e6, 8),  # more do not help
        ({2: 0.5, 4: 0.58, 8: 0.9}, 1e6, 4),  # nor by more than the error, but they are there
        ({2: 0.9, 4: 0.5}, 1e6, 2),
        ({2: 0.05, 4: 0.3, 8: 0.55, 16: 0.8, 20: 1.0}, 1e6, 20),  # a long night must not overfit for hours
        ({2: 0.1, 4: 0.3, 8: 0.5}, 39.0, 4),  # twice as many do not fit all fits that are to come
        ({2: 0.1, 4: 0.3}, None, 2),  # without a limit the number is fixed
    ],
)
def test_passes_are_doubled_until_they_no_longer_help(
    context: Context, shares: dict[int, float], seconds: float | None, passes: float
) -> None:
    found = Scored(context, lambda: untrained(context), folds_of(context), Terms(seconds), probed=False)
    found.shares = shares
    found.scheme, found.folds, found.least = Scheme(1, 3), folds_of(context), 1
    tried = found.compared()
    assert found.passes == passes
    assert tried[0].fitted.images == round(passes * (len(found.folds.rows) - len(tried[0].raws[OWN])))


@pytest.mark.parametrize(("better", "passes"), [(0.9, 4), (0.2, 2)])
def test_where_images_take_longer_than_reckoned_one_fit_takes_all_the_time(
    context: Context, better: float, passes: float
) -> None:
    found = Scored(context, lambda: untrained(context), folds_of(context), Terms(100.0), probed=False)
    found.shares = {2: 0.5, 4: better}  # 2 s for two passes over 80 labels: forty of all take a minute, three of these
    assert found.scheme.last
    (one,) = found.compared().values()
    assert found.scheme == Scheme(1, 1, last=False)
    assert found.folds.judged == folds_of(context).judged[:1]
    assert one.fitted.images == round(passes * one.fitted.labels)


@pytest.mark.parametrize(("seconds", "spare"), [(5.2, True), (4.8, False)])
def test_what_one_fit_leaves_serves_one_to_all_labels(context: Context, seconds: float, spare: bool) -> None:
    found = Scored(context, lambda: untrained(context), folds_of(context), Terms(seconds), probed=False)
    found.shares, found.scheme, found.passes = {2: 0.5}, Scheme(1, 1, last=False), 2
    one = found.judged(0, 0)  # in 2 s, on two thirds of the labels
    assert one is not None
    assert found.spare(one) == spare
    assert not found.spare(one._replace(fitted=one.fitted._replace(images=one.fitted.images - 9)))


def test_time_is_kept_for_what_follows_each_fit(context: Context, tmp_path: Path) -> None:
    costly = open_context(begin(tmp_path / "run", {**STATE, "costs": {"supervised": 1e-3, "embed": 0.002}}))
    folds = folds_of(context)
    terms = Terms((3 + len(folds.judged) - 1 + LAST) * Judged.least_passes * len(folds.rows) * 1e-3)
    found = [Fits(each, partial(untrained, each), folds, terms, probed=False) for each in (context, costly)]
    assert found[1].after == pytest.approx(0.002 * (len(context.final_pool) + len(folds.rows)))
    assert [each.scheme.settings for each in found] == [3, 2]
    assert 5 < (Terms(10.0).keeping(4.0).left or 0) <= 6


def test_after_kills_the_fits_of_an_arm_are_the_same(
    context: Context, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for constant, value in {"EVERY": 0.0, "LAST": 0.0, "SHARE": 1e9}.items():
        monkeypatch.setattr(resumable, constant, value)
    monkeypatch.setattr(baselines, "SEARCHED", baselines.SEARCHED[:2])
    folds, root, asked = folds_of(context), tmp_path_factory.mktemp("kills"), KilledAt(None)

    def fitted(kill_at: int | None, stem: str) -> tuple[dict[str, torch.Tensor], float]:
        nonlocal asked
        asked = KilledAt(kill_at)
        terms = Terms(1e6, 9e5, asked, root / f"{stem}.pt")
        arm, *_ = trained(context, TUNED, lambda: untrained(context), folds, terms, probed=True)
        assert arm.effort is not None
        assert arm.outcomes is not None
        return {
            **arm.encoder.state_dict(),
            "scores": torch.from_numpy(arm.outcomes.columns["scores"]),
        }, arm.effort.passes

    whole, passes = fitted(None, "whole")
    in_all = asked.steps
    for kill_at in (3, in_all // 2):
        with pytest.raises(Killed):
            fitted(kill_at, "killed")
    again, passes_again = fitted(None, "killed")
    assert asked.steps < in_all
    assert passes_again == passes
    assert all(torch.equal(value, again[key]) for key, value in whole.items())


def test_the_mean_of_weights_is_judged_by_fits_that_have_not_seen_the_fold(context: Context) -> None:
    folds = folds_of(context)
    one, soup = trained(context, TUNED, lambda: untrained(context), folds, Terms(), probed=True)
    assert soup.name == SOUPS[TUNED]
    assert one.outcomes is not None
    assert soup.outcomes is not None
    assert soup.effort is not None
    fits = Fits(context, lambda: untrained(context), folds, Terms(), probed=True)
    fold = folds.judged[1]
    others = [fits.judged(number, fold) for number in range(3)]
    encoders = [found.fitted.encoder for found in others if found is not None]
    head = [found.fitted.head for found in others if found is not None]
    mean = torch.stack([next(encoder.parameters()) for encoder in encoders]).mean(0)
    made = average(context, [found.fitted for found in others if found is not None])
    assert torch.allclose(next(made.encoder.parameters()), mean)
    assert torch.allclose(next(made.head.parameters()), torch.stack([next(h.parameters()) for h in head]).mean(0))
    held = folds.parts(fold)[1]
    raw = fits.on_fold(made, fold).raws[soup.effort.readout]
    before = sum(len(folds.parts(earlier)[1]) for earlier in folds.judged[:1])
    np.testing.assert_array_equal(soup.outcomes.columns["scores"][before : before + len(held)], raw)
    np.testing.assert_array_equal(soup.outcomes.columns["y"], one.outcomes.columns["y"])
