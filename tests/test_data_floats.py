"""Values given as floats: a fact of the data's record, which records of before are read with."""

import json
from pathlib import Path

import numpy as np
import pytest

from autossl.data import KEPT, load, open_data, prepare

LABELS = np.arange(60) % 3


@pytest.mark.parametrize("floats", [True, False])
@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_written_down(tmp_path: Path, dims: int, floats: bool) -> None:
    values = np.random.default_rng(0).integers(0, 256, (60, *[10] * dims), dtype=np.uint8)
    source = open_data(values.astype(np.float32) / 255 if floats else values, labels=LABELS)
    assert prepare(source, tmp_path).record["floats"] is floats


def test_it_is_kept_where_either_of_two_sources_has_it(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (60, 10, 10), dtype=np.uint8)
    source = open_data(values, labels=LABELS, unlabeled=values[:9, ::-1].astype(np.float32) / 255)
    assert prepare(source, tmp_path).record["floats"]


def test_a_record_of_before_is_read_with_what_it_lacks(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (60, 10, 10)) / 255
    prepare(open_data(values, labels=LABELS), tmp_path)
    with np.load(tmp_path / "data.npz") as file:
        stored = dict(file)
    about = json.loads(str(stored["about"]))
    del about["record"]["window"], about["record"]["floats"]
    np.savez(tmp_path / "data.npz", allow_pickle=False, **{**stored, "about": np.array(json.dumps(about))})
    record = load(tmp_path).record
    assert (record["window"], record["floats"]) == (KEPT, True)
