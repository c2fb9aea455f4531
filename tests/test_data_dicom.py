"""DICOM: every sample by its manifest and by plain pydicom, series sorted, a hospital's folder, damage, privacy."""

import csv
import random
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

from autossl.data import open_data, read_images
from autossl.data.readers import codecs, dicom, series
from autossl.data.readers.images import Unreadable
from autossl.data.readers.instances import Plane, look
from autossl.errors import UserError
from studies.hospital import SECRETS, make

LOSSY = {"JPGExtended.dcm": 0.02}  # the mean of what another library decodes: JPEG rounds as it likes
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def samples(shared_data: Path) -> Path:
    return shared_data / "dicom_samples"


@pytest.fixture(scope="module")
def hospital(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export")
    make(samples, out / "slices", slices=3)
    make(samples, out / "volumes", slices=8, volumes=True)
    return out


def test_values_are_those_of_the_manifest(samples: Path) -> None:
    with open(samples / "manifest.csv") as file:
        rows = list(csv.DictReader(file))
    assert len({row["transfer_syntax_uid"] for row in rows}) == 10
    for row in rows:
        frames = [dicom.raw(samples / row["file"], at)[0] for at in range(int(row["frames"]))]
        values = np.stack(frames).astype(np.float64)
        low, high, mean = (float(row[f"rescaled_{name}"]) for name in ("min", "max", "mean"))
        if row["photometric_interpretation"] == "PALETTE COLOR":
            assert values.shape[-1] == 3
            continue
        if row["photometric_interpretation"] == "MONOCHROME1":
            values = (1 << int(row["bits_stored"])) - 1 - values
        assert (values.min(), values.max()) == (low, high), row["file"]
        assert values.mean() == pytest.approx(mean, abs=LOSSY.get(row["file"], 6e-4)), row["file"]


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_values_are_those_of_plain_pydicom(samples: Path) -> None:
    for name in ("CT_small", "explicit_VR-UN", "MR2_J2KR", "MR_small_RLE", "image_dfl"):
        plain = pydicom.dcmread(samples / f"{name}.dcm")
        wanted = apply_modality_lut(plain.pixel_array, plain)
        assert np.array_equal(dicom.raw(samples / f"{name}.dcm")[0][:, :, 0], wanted), name
    alike = [dicom.raw(path)[0] for path in sorted(samples.glob("MR_small*.dcm"))]
    assert len(alike) == 6
    assert all(np.array_equal(each, alike[0]) for each in alike)
    plain = pydicom.dcmread(samples / "OBXXXX1A_rle.dcm")
    colours = apply_color_lut(plain.pixel_array, plain)
    assert np.array_equal(dicom.raw(samples / "OBXXXX1A_rle.dcm")[0], colours >> 8)


def test_what_is_no_image_is_told_by_its_kind(samples: Path) -> None:
    assert look(samples / "liver_1frame.dcm").aside == "Segmentation"
    assert look(samples / "CT_small.dcm").aside == ""


def test_padding_has_the_lowest_of_the_other_values(samples: Path, tmp_path: Path) -> None:
    one = pydicom.dcmread(samples / "CT_small.dcm")
    pixels = one.pixel_array.copy()
    pixels[:5] = -2000
    one.PixelData = pixels.tobytes()
    one.save_as(tmp_path / "a.dcm")
    found = dicom.raw(tmp_path / "a.dcm")[0]
    assert found.min() == (pixels[5:] - 1024).min()


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(9)), st.integers(0, 8), st.integers(0, 5))
def test_slices_are_sorted_along_their_normal(order: list[int], twice: int, turn: int) -> None:
    along = np.roll(np.array(AXIAL).reshape(2, 3), turn, axis=1)
    normal = np.cross(along[0], along[1])
    planes = [
        Plane(tuple((normal * 2.5 * at + along[0] * 7).tolist()), tuple(along.ravel().tolist()), (1.0, 1.0))
        for at in (*order, twice)
    ]
    found = series.sort(planes)
    assert [(*order, twice)[at] for at in found.order] == list(range(9))
    assert (found.repeated, found.gaps) == (1, 0)
    assert found.step == pytest.approx(2.5)
    assert series.sort([planes[at] for at in range(9) if order[at] != 4]).gaps == 1


def test_a_hospital_s_slices(hospital: Path) -> None:
    source = open_data(hospital / "slices")
    assert (source.n, source.dims, source.window, source.modality) == (60, 2, "ct", "CT")
    assert source.truth.counts() == {"benign": 30, "malignant": 30}
    assert len(np.unique(source.groups)) == 20
    notes = " / ".join(source.notes)
    assert "2 DICOM files cannot be read and are set aside" in notes
    assert "localizer 1" in notes
    assert "X-Ray Radiation Dose SR 1" in notes
    assert source.read(0).dtype == np.uint16
    assert not any(secret in notes + source.naming(0) for secret in SECRETS)


def test_a_hospital_s_volumes_lie_as_nifti_does(hospital: Path, samples: Path) -> None:
    source = open_data(hospital / "volumes")
    assert (source.n, source.dims, source.window) == (20, 3, "ct")
    assert source.spacing is not None
    assert source.spacing[0].tolist() == pytest.approx([2.5, 0.661468, 0.661468])
    first = dicom.raw(samples / "CT_small.dcm")[0]
    lowest = source.read(0)[0, ::-1, ::-1]  # towards the head; rows ran to the back, columns to the left
    assert np.array_equal(lowest.astype(int) - 1024, first)
    assert read_images(hospital / "volumes", 16, 1, 4095.0, dims=2, window="ct").images.shape == (160, 16, 16, 1)


def test_labels_by_an_attribute_that_names_nobody(hospital: Path, tmp_path: Path) -> None:
    for name in ("PatientID", "AccessionNumber", "InstitutionName", "NoSuchThing"):
        (hospital / "slices" / "labels.csv").rename(tmp_path / "labels.csv")
        try:
            with pytest.raises(UserError, match=r"--label-column"):
                open_data(hospital / "slices", label_column=name)
        finally:
            (tmp_path / "labels.csv").rename(hospital / "slices" / "labels.csv")


def test_folders_of_patients_are_no_classes(hospital: Path, tmp_path: Path) -> None:
    (hospital / "slices" / "labels.csv").rename(tmp_path / "labels.csv")
    try:
        with pytest.raises(UserError, match=r"no folder for each class .* give --labels") as told:
            open_data(hospital / "slices")
    finally:
        (tmp_path / "labels.csv").rename(hospital / "slices" / "labels.csv")
    assert not any(secret in str(told.value) for secret in SECRETS)


def test_other_images_beside_dicom_are_images_and_volumes_are_refused(samples: Path, tmp_path: Path) -> None:
    shades = np.random.default_rng(0).integers(0, 256, (2, 20, 30), dtype=np.uint8)
    lines = ["image,label"]
    for at in range(12):
        names = [f"{at}.dcm", f"{at}.png"]
        (tmp_path / names[0]).write_bytes((samples / "MR_small.dcm").read_bytes())
        Image.fromarray(shades[at % 2]).save(tmp_path / names[1])
        lines += [f"{name},{'ab'[at % 2]}" for name in names]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    for data in (tmp_path, tmp_path / "labels.csv"):
        source = open_data(data)
        assert (source.n, source.dims, source.window) == (24, 2, "robust")
        assert "12 images of another form beside DICOM, each of a patient of its own" in source.notes
        small = [row for row in range(24) if source.sizes[row].tolist() == [20, 30]]
        assert np.array_equal(source.read(small[1])[..., 0], shades[1])
        assert source.white[small[1]] == 255
    (tmp_path / "volume.nii").write_bytes(b"")
    with pytest.raises(UserError, match="found 1 volume of another form beside DICOM"):
        open_data(tmp_path)


def test_a_missing_extra_is_named(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.dcm").write_bytes((samples / "MR_small_jpeg_ls_lossless.dcm").read_bytes())
    monkeypatch.setattr(codecs, "is_available", lambda uid: False)
    with pytest.raises(UserError, match=r"install autossl-imaging\[dicom\]"):
        read_images(tmp_path, 12, 1, 65535.0)


def test_headers_that_promise_too_much_are_refused(samples: Path, tmp_path: Path) -> None:
    one = pydicom.dcmread(samples / "MR_small.dcm")
    one.Rows = one.Columns = 65535
    one.save_as(tmp_path / "a.dcm")
    with pytest.raises(Unreadable, match="65535 x 65535"):
        dicom.raw(tmp_path / "a.dcm")


@pytest.mark.filterwarnings("error")
def test_mutated_files_are_read_or_refused(samples: Path, tmp_path: Path) -> None:
    seeds = [
        (samples / f"{name}.dcm").read_bytes() for name in ("MR_small", "MR_small_RLE", "MR_small_jpeg_ls_lossless")
    ]
    rng, read = random.Random(0), 0
    for at in range(30):
        data = bytearray(seeds[at % len(seeds)])
        for _ in range(rng.choice((1, 3, 8))):
            place = rng.randrange(132, len(data))
            data[place] = rng.randrange(256)
        del data[rng.randrange(200, len(data)) if rng.random() < 0.2 else len(data) :]
        (tmp_path / "a.dcm").write_bytes(data)
        try:
            look(tmp_path / "a.dcm")
            assert np.isfinite(dicom.raw(tmp_path / "a.dcm")[0]).all()
            read += 1
        except Unreadable:
            continue
    assert 0 < read < 30
