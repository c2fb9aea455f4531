"""Tables besides CSV say the same as a CSV of them would, and paths in tables stay below their folder."""

import datetime
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autossl.data import open_data
from autossl.data.readers import sheets
from autossl.data.readers.tables import read_table
from autossl.data.truth import Masks
from autossl.errors import UserError

arrow: Any = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet: Any = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
excel: Any = pytest.importorskip("openpyxl", reason="openpyxl is not installed")

HEAD = ["image", "label", "patient", "age", "seen", "note"]
ROWS: list[list[Any]] = [
    [f"img/{at}.png", "ab"[at % 2], 100 + at // 2, 3.5 if at else None, datetime.date(2026, 1, 1 + at), "a, b"]
    for at in range(20)
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    (root / "img").mkdir()
    for at in range(20):
        Image.fromarray(np.random.default_rng(at).integers(0, 256, (12, 12), dtype=np.uint8)).save(
            root / f"img/{at}.png"
        )
    lines = [
        ",".join([*map(str, row[:3]), "" if row[3] is None else str(row[3]), str(row[4]), '"a, b"']) for row in ROWS
    ]
    (root / "t.csv").write_text("\n".join([",".join(HEAD), *lines]))
    tabs = ["\t".join("" if cell is None else str(cell) for cell in row) for row in ROWS]
    (root / "t.tsv").write_text("\n".join(["\t".join(HEAD), *tabs]))
    book = excel.Workbook()
    for row in [HEAD, *ROWS]:
        book.active.append(row)
    book.create_sheet("legend").append(["anything"])
    book.save(root / "t.xlsx")
    columns = {name: [row[at] for row in ROWS] for at, name in enumerate(HEAD)}
    parquet.write_table(arrow.table(columns | {"vector": [[1.0, 2.0]] * 20, "raw": [b"x"] * 20}), root / "t.parquet")
    return root


@pytest.mark.parametrize("name", ["t.tsv", "t.xlsx", "t.parquet"])
def test_a_table_says_what_its_csv_says(root: Path, name: str) -> None:
    assert read_table(root / name) == read_table(root / "t.csv")
    source = open_data(root / name)
    assert (source.n, source.truth.names, len(source.patients)) == (20, ("a", "b"), 10)
    assert open_data(root, labels=root / name).truth.strata.tolist() == [0, 1] * 10


@pytest.mark.parametrize("name", ["t.xlsx", "t.parquet"])
def test_a_damaged_table_is_refused_in_a_sentence(root: Path, tmp_path: Path, name: str) -> None:
    whole = (root / name).read_bytes()
    for data in (b"", b"text", whole[: len(whole) // 2], whole[:-4]):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=r"damaged or of another form at .*; save it again, or as CSV") as caught:
            open_data(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_excel_that_unpacks_to_too_much_or_declares_a_document(root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(root / "t.xlsx") as old, zipfile.ZipFile(tmp_path / "d.xlsx", "w") as new:
        for member in old.infolist():
            text = old.read(member)
            new.writestr(member, text.replace(b"<worksheet", b'<!DOCTYPE w [<!ENTITY a "a">]><worksheet', 1))
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("xl/workbook.xml", b" " * (sheets.MOST_BYTES + 1))
    for name in ("d.xlsx", "b.xlsx"):
        with pytest.raises(UserError, match="damaged or of another form"):
            open_data(tmp_path / name)


def test_a_package_that_is_missing_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"openpyxl was wanted .* install autossl-imaging\[tables\], or save .* as CSV"):
        open_data(root / "t.xlsx")


def test_paths_lead_out_of_the_folder_only_where_it_is_named(root: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    table = lists / "t.csv"
    for start in (f"{root}/img", "../elsewhere/../../x", "img/../../y"):
        table.write_text("image,label\n" + "\n".join(f"{start}/{at}.png,{'ab'[at % 2]}" for at in range(20)))
        with pytest.raises(UserError, match=r"found one in row 2 of .*t.csv that leads out of it; .*t.csv::FOLDER"):
            open_data(table)
    table.write_text("image,label\n" + "\n".join(f"{root}/img/{at}.png,{'ab'[at % 2]}" for at in range(20)))
    assert open_data(f"{table}::{root}").n == 20
    assert open_data(f"{table}::/").n == 20
    table.write_text("image,label\n" + "\n".join(f"{at}.png,{'ab'[at % 2]}" for at in range(20)))
    assert open_data(f"{table}::{root}/img").n == 20
    (lists / "0.png").write_bytes((root / "img/0.png").read_bytes())
    table.write_text(f"image,mask\n0.png,{root}/img/0.png\n")
    with pytest.raises(UserError, match=r"row 2 of .*t.csv that leads out of it"):
        open_data(table, form=Masks)
