"""The choice between a probe on the frozen encoder and fine-tuning, measured on real images of a small study."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

import autossl
from autossl.data import TEST
from autossl.data.truth import Classes
from autossl.finish import adapt as adaptation
from autossl.finish import baselines
from autossl.finish.adapt import adapt
from autossl.finish.baselines import untrained
from autossl.targets import Readout, Seen
from autossl.train.resumable import Terms
from autossl.trials.context import PROBE, SELECTION, Context, open_context


@pytest.fixture(scope="module", autouse=True)
def short_runs_on_labels() -> Iterator[None]:
    """A fifth of the usual passes: still enough for a fine-tune that is worth its choice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "LABEL_PASSES", 8)
        yield


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A study of 600 images of four textures that an untrained encoder cannot tell apart well but training can."""
    rng = np.random.default_rng(0)
    y = np.arange(600) % 4
    angle = y * np.pi / 4
    row, column = np.mgrid[:16, :16]
    along = row * np.cos(angle)[:, None, None] + column * np.sin(angle)[:, None, None]
    x = 127 + 50 * np.sin(along + rng.uniform(0, 6, (600, 1, 1))) + rng.normal(0, 60, (600, 16, 16))
    images = np.clip(x, 0, 255).astype(np.uint8)
    settings = {"time_limit": None, "max_candidates": 1, "methods": "denoising", "backbone": "test_resnet"}
    study = autossl.search(images, labels=y, out=tmp_path_factory.mktemp("adapt") / "run", seed=1, **settings)  # type: ignore[arg-type]
    assert study.result is not None
    assert study.result["adaptation"]["chosen"] in ("frozen", "finetune")
    assert "selection part" in study.result["adaptation"]["why"]
    return open_context(study.folder)


def probe(context: Context) -> Readout:
    rows = context.rows(PROBE, SELECTION, labelled=True)
    z = context.embed(untrained(context), rows)
    return context.judged.probe(Seen.of(z), context.truth(rows), context.groups(rows))


def test_more_than_250_labels_are_tried_both_ways_and_the_better_is_taken(context: Context) -> None:
    words: list[str] = []
    found = adapt(context, untrained(context), probe(context), Terms(), words.append)
    assert found.facts["chosen"] == ("finetune" if found.facts["finetuned"] > found.facts["frozen"] else "frozen")
    assert found.tuned == (found.facts["chosen"] == "finetune")
    assert f"{found.facts['finetuned']:.3f}" in found.facts["why"]
    assert words[0] == "trying a fine-tune on the selection part"


def test_fine_tuning_that_spoils_the_encoder_is_not_taken(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "FINETUNE", (3.0, 0.05, 1.0))  # a learning rate that destroys it
    encoder = untrained(context)
    found = adapt(context, encoder, probe(context), Terms(4.0), lambda _: None)
    assert not found.tuned
    assert found.encoder is encoder
    assert found.facts["finetuned"] <= found.facts["frozen"]


def test_without_time_the_encoder_stays_frozen_and_the_reason_is_given(context: Context) -> None:
    words: list[str] = []
    found = adapt(context, untrained(context), probe(context), Terms(0.0), words.append)
    assert not found.tuned
    assert found.facts == {"chosen": "frozen", "why": "no time was left to fine-tune"}
    assert not words


@pytest.mark.parametrize("asked", ["frozen", "finetune"])
def test_what_was_asked_is_not_measured(context: Context, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "config", replace(context.config, adaptation=asked))
    found = adapt(context, untrained(context), probe(context), Terms(3.0), lambda _: None)
    assert found.tuned == (asked == "finetune")
    assert found.facts == {"chosen": asked, "why": "as asked"}


def test_the_labels_of_the_test_part_are_not_looked_at(context: Context) -> None:
    first = adapt(context, untrained(context), probe(context), Terms(), lambda _: None)
    labels = context.data.truth.strata.copy()
    labels[context.rows(TEST)] = 0
    changed = replace(context, data=replace(context.data, truth=Classes(labels, context.data.truth.names)))
    second = adapt(changed, untrained(context), probe(context), Terms(), lambda _: None)
    assert first.facts == second.facts
    for own, other in zip(first.head.parameters(), second.head.parameters(), strict=True):
        assert torch.equal(own, other)
