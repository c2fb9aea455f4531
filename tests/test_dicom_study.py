"""From a hospital's folder of DICOM to a report without a hand's turn, and no name of a patient in any byte of it."""

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

import autossl
from autossl.finish import anneal, baselines
from studies.hospital import SECRETS, make
from tests.test_cli import run


def contents(data: bytes) -> Iterator[bytes]:
    """Bytes, and those of the members of an archive."""
    yield data
    if data[:2] == b"PK":
        with zipfile.ZipFile(BytesIO(data)) as archive:
            for member in archive.namelist():
                yield member.encode()
                yield archive.read(member)


def told(data: bytes) -> list[str]:
    """The names and numbers of patients that bytes hold, as text or as arrays of characters hold them."""
    forms = {secret: (secret.encode(), secret.encode("utf-32-le"), secret.encode("utf-16-le")) for secret in SECRETS}
    pieces = [piece.lower() for piece in contents(data)]
    return [name for name, each in forms.items() if any(form.lower() in piece for form in each for piece in pieces)]


def test_from_a_hospital_s_folder_to_a_report(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(baselines, "LABEL_PASSES", 1)
    monkeypatch.setattr(anneal, "PASSES", 1)
    monkeypatch.setattr(baselines, "SEARCHED", baselines.SEARCHED[:1])
    export, out = tmp_path / "export", tmp_path / "out"
    make(shared_data / "dicom_samples", export, patients=18, slices=3)
    seen = run("inspect", str(export), "--task", "classification")
    assert seen.exit_code == 0, seen.output
    assert "2 DICOM files cannot be read" in seen.output
    study = autossl.search(
        export, "classification", time_limit=None, out=out, max_candidates=1, methods="simclr", adaptation="frozen",
        backbone="test_resnet", weights="none", image_size=24,
    )  # fmt: skip
    assert study.result is not None
    assert (out / "report.html").is_file()
    printed = capfd.readouterr()
    produced = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    produced |= {Path("inspect"): seen.output.encode(), Path("printed"): (printed.out + printed.err).encode()}
    assert len(produced) > 10
    assert {path: names for path, data in produced.items() if (names := told(data))} == {}


def test_the_search_for_names_finds_them() -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", SECRETS[1].lower().encode("utf-32-le"))
    assert told(buffer.getvalue()) == [SECRETS[1]]
    assert told(b"--" + SECRETS[4].encode()) == [SECRETS[4]]
