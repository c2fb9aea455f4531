"""Contrastive and hybrid methods learn: see tests/pretext_learning.py."""

import pytest

from tests.pretext_learning import assert_embedding_beats_untrained, assert_loss_falls, family

METHODS = family("contrastive", "hybrid")


@pytest.mark.parametrize("name", METHODS)
def test_the_embedding_beats_the_untrained_one(name: str) -> None:
    assert_embedding_beats_untrained(name)


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_falls(name: str) -> None:
    assert_loss_falls(name)
