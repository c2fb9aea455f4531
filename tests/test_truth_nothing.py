"""No labels: none is looked at, parts are drawn all the same, and nothing is tested."""

from pathlib import Path

import numpy as np
import pytest

from autossl.data import DROPPED, PROBE, SELECTION, TEST, check_enough, load, open_data, prepare
from autossl.data.truth import Nothing
from autossl.errors import UserError
from tests.test_data_labels import folder, noise, table


def test_any_form_of_data_opens_without_labels(tmp_path: Path) -> None:
    path = table(tmp_path, {"label": [f"Ann {at}" for at in range(8)]})
    np.savez(tmp_path / "set.npz", images=noise(8, 12, 12))
    for data in (
        path,
        folder(tmp_path / "f", "a", "b", count=4),
        tmp_path / "f" / "a",
        tmp_path / "set.npz",
        noise(8, 12, 12),
    ):
        source = open_data(data, form=Nothing)
        assert isinstance(source.truth, Nothing)
        assert not source.truth.known.any()
        assert source.truth.described() == "no label is looked at"


def test_parts_are_drawn_by_patient_and_none_is_a_test_part(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=noise(60, 12, 12), patients=np.arange(60) // 3)
    source = open_data(tmp_path / "set.npz", form=Nothing, unlabeled=noise(20, 12, 12))
    check_enough(source, None)
    data = prepare(source, tmp_path / "cache", image_size=12)
    assert isinstance(load(tmp_path / "cache").truth, Nothing)
    assert len(data.rows(TEST)) == 0
    assert 0.1 * 80 < len(data.rows(SELECTION)) < 0.4 * 80
    assert len(data.rows(PROBE, SELECTION)) == 80
    assert not set(data.groups[data.rows(PROBE)]) & set(data.groups[data.rows(SELECTION)])
    assert len(data.rows(PROBE, SELECTION, labelled=True)) == 0
    assert "no label was looked at: what is chosen cannot be verified" in data.notes
    assert data.record["parts"]["test"]["images"] == 0
    assert data.record["parts"]["probe"]["classes"] == {"any image": len(data.rows(PROBE))}


def test_an_official_test_part_is_kept_for_who_will_test(tmp_path: Path) -> None:
    split = np.array(["train"] * 40 + ["test"] * 10)
    np.savez(tmp_path / "set.npz", images=noise(50, 12, 12), split=split)
    data = prepare(open_data(tmp_path / "set.npz", form=Nothing), tmp_path / "cache", image_size=12)
    assert (data.part[40:] == DROPPED).all()
    assert (data.part[:40] != DROPPED).all()
    assert "10 images belong to the official test part and are left out" in data.notes
    assert not any("it was drawn" in note for note in data.notes)


def test_too_few_images_and_numbers_of_labels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 4 images were wanted, so that they can be split, found 3 in"):
        open_data(noise(3, 12, 12), form=Nothing)
    source = open_data(noise(15, 12, 12), form=Nothing)
    with pytest.raises(UserError, match="at least 16 images were wanted, found 15 in the given array; give more"):
        check_enough(source, None)
    with pytest.raises(UserError, match="found --max-labels 20 where none is looked at; leave it out"):
        prepare(source, tmp_path, max_labels=20)
