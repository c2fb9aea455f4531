"""Tables that cannot be used end in one sentence that names the place and the remedy."""

from pathlib import Path
from typing import Any

import pytest

from autossl.data import open_data
from autossl.errors import UserError
from tests.test_data_bad_input import no_class_folders, write_classes


def table(tmp_path: Path, text: str) -> Path:
    write_classes(tmp_path / "files")
    (tmp_path / "list.csv").write_text(text)
    return tmp_path / "list.csv"


ROWS = [f"files/{name}/{at}.png" for name in "ab" for at in range(4)]


@pytest.mark.parametrize(
    ("header", "cells", "options", "message"),
    [
        ("file,label", "x", {}, r"found the columns file, label in {path}; rename"),
        ("image,label", "", {}, r"found 8 images without a label in {path}; give --labels"),
        ("image,kind", "x", {}, r"a column label was wanted, found only image, kind in {path}; choose by --label-col"),
        ("image,label", "x", {"label_column": "grade"}, r"'grade' of --label-column .*image, label in {path}; name"),
        ("image,label", "x", {"patient_column": "case"}, r"'case' of --patient-column .* in {path}; name one"),
        ("image,label,patient,patient_id", "x,1,2", {}, r"found patient and patient_id in {path}; choose"),
        ("image,label", "x", {"label_column": "image"}, r"found file names in the column 'image' of {path}; name"),
        ("image,label", "x,y", {}, r"2 cells in every row were wanted, found 3 in row 2 of {path}; quote"),
        ("image,label,label", "x,y", {}, r"found 2 columns label in {path}; rename one"),
        ("image,label,split", "x,later", {}, r"found 'later' in the split column of {path}"),
    ],
)
def test_manifests(tmp_path: Path, header: str, cells: str, options: dict[str, Any], message: str) -> None:
    path = table(tmp_path, "\n".join([header, *(f"{row},{cells}" for row in ROWS)]))
    with pytest.raises(UserError, match=message.format(path=path)):
        open_data(path, **options)


@pytest.mark.parametrize("form", ["files/{name}/{at}.png", "{at}.png", "case {name}{at}"])
def test_a_label_column_that_is_the_file_name(tmp_path: Path, form: str) -> None:
    cells = [form.format(name=name, at=at) for name in "ab" for at in range(4)]
    path = table(tmp_path, "\n".join(["image,label", *map(",".join, zip(ROWS, cells, strict=True))]))
    with pytest.raises(UserError, match=rf"class labels were wanted, found .* in the column 'label' of {path}; name"):
        open_data(path)


def test_images_of_a_manifest_that_are_not_there(tmp_path: Path) -> None:
    path = table(tmp_path, "image,label\nelsewhere/0.png,x\nelsewhere/1.png,y\n")
    message = rf"found none of 2, the first looked for at {tmp_path}/elsewhere/0.png; write paths"
    with pytest.raises(UserError, match=message):
        open_data(path)
    path = table(tmp_path, "image,label\n" + "\n".join(f"{row},x" for row in [*ROWS, "gone/1.png", "gone/2.png"]))
    with pytest.raises(UserError, match=rf"found 8 of 10, the first absent one at {tmp_path}/gone/1.png; copy"):
        open_data(path)


def test_a_manifest_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes("image,label\ngrün.png,x\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"found another encoding in .*list.csv; save it as UTF-8"):
        open_data(tmp_path / "list.csv")


def test_labels_that_match_no_image(tmp_path: Path) -> None:
    root = no_class_folders(tmp_path)
    (tmp_path / "labels.csv").write_text("image,label\nother.png,x\n")
    message = r"found 1 row in .*labels.csv of which none matches one of 1 file .*'other.png'.*one.png.*; write"
    with pytest.raises(UserError, match=message):
        open_data(root, labels=tmp_path / "labels.csv")
    with pytest.raises(UserError, match=r"found nothing at .*absent.csv; check --labels"):
        open_data(root, labels=tmp_path / "absent.csv")
    with pytest.raises(UserError, match="found list as labels= of a folder; write the labels into a CSV"):
        open_data(root, labels=[1, 2])
