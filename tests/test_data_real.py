"""Real images that may stand beside the checkout: their known flaws are found."""

from pathlib import Path

import numpy as np
import pytest

from autossl.data import DROPPED, PROBE, SELECTION, TEST, open_data, prepare
from autossl.data.draw import groups_per_class
from autossl.data.parts import OFFICIAL_TEST, TRAIN, VAL
from autossl.errors import UserError


def test_pneumoniamnist_drops_the_duplicates_of_its_validation_images(shared_data: Path, tmp_path: Path) -> None:
    source = open_data(shared_data / "pneumoniamnist" / "pneumoniamnist.npz")
    data = prepare(source, tmp_path)
    val, train = source.split == VAL, source.split == TRAIN
    assert data.record["flaws"]["duplicate_sets_across_official_parts"] == 8
    assert (data.part[val] == SELECTION).all()
    assert (data.part[source.split == OFFICIAL_TEST] == TEST).all()
    dropped = data.part == DROPPED
    assert train[dropped].all()
    copies = {image.tobytes() for image in data.images[val]} & {image.tobytes() for image in data.images[train]}
    assert len(copies) == 8
    assert dropped.sum() == sum(image.tobytes() in copies for image in data.images[train])


def test_pbc_28_has_one_pair_with_two_labels(shared_data: Path, tmp_path: Path) -> None:
    source = open_data(shared_data / "pbc_blood_28" / "pbc_blood_28.npz")
    data = prepare(source, tmp_path, max_labels=250)
    flaws = data.record["flaws"]
    assert (flaws["duplicate_sets"], flaws["duplicate_sets_with_different_labels"]) == (17, 1)
    assert (data.truth.strata[data.rows(PROBE, SELECTION)] >= 0).sum() == 250
    assert len(data.rows(TEST, labelled=True)) == 3421
    assert any("pooled" in note for note in data.notes)


def test_pbc_folder_as_folder_and_as_manifest(shared_data: Path, tmp_path: Path) -> None:
    folder = open_data(shared_data / "pbc_blood_folder")
    table = open_data(shared_data / "pbc_blood_folder" / "manifest.csv")
    assert np.bincount(folder.split).tolist() == np.bincount(table.split).tolist() == [1280, 240, 400]
    assert folder.truth.names[0] == "basophil"
    assert table.name == folder.name == "pbc_blood_folder"
    assert sorted(folder.files or ()) == sorted(table.files or ())


def test_hannover_keeps_patients_together(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "hannover_cxr" / "manifest.csv"
    with pytest.raises(UserError, match=r"sex, projection, icu_ever, died.*--label-column"):
        open_data(path)
    with pytest.raises(UserError, match=r"sex, projection, icu_ever, died.*--label-column"):
        open_data(path.parent)
    with pytest.raises(UserError, match="found patient ids in the column 'patient_id'"):
        open_data(path, label_column="patient_id")
    died = prepare(open_data(path, label_column="died"), tmp_path / "died", image_size=32)
    probe = (died.part == PROBE) & (died.truth.strata >= 0)
    assert (
        groups_per_class(died.truth.strata[probe], died.groups[probe], 2).min() == 2
    )  # of three outside the test part
    source = open_data(path.parent, label_column="sex")
    assert source.notes[0] == "manifest.csv says what the images are, the names of the folders beside it do not"
    data = prepare(source, tmp_path, image_size=32)
    assert data.has_patients
    assert data.record["patients"] == 71
    assert data.images.shape == (243, 32, 32, 1)
    for part in (PROBE, SELECTION):
        assert not np.intersect1d(data.groups[data.part == part], data.groups[data.part == TEST]).size
