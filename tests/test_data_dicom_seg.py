"""DICOM segmentations, as highdicom writes them, become masks of the series and images that they were drawn on."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from autossl.data import open_data, prepare
from autossl.data.readers.images import Unreadable
from autossl.data.truth import Classes, Masks
from autossl.errors import UserError

seg: Any = pytest.importorskip("highdicom.seg", reason="highdicom is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
RANDOM = np.random.default_rng(0)
SIDES = (12, 14)


def slices(folder: Path, patient: int, count: int) -> list[pydicom.Dataset]:
    """An axial CT, files in no order."""
    found, study, frame = [], generate_uid(), generate_uid()
    own = generate_uid()
    for at in range(count):
        one = pydicom.Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID, one.SOPInstanceUID, one.Modality = CTImageStorage, generate_uid(), "CT"
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, own, frame
        one.PatientID, one.PatientName, one.PatientBirthDate, one.PatientSex = f"p{patient}", "A^B", "19700101", "O"
        one.StudyDate, one.StudyTime, one.AccessionNumber, one.StudyID = "20260101", "120000", f"a{patient}", "1"
        one.ReferringPhysicianName, one.SeriesNumber, one.InstanceNumber = "", 1, (7 * at) % count + 1
        one.ImagePositionPatient, one.ImageOrientationPatient = [-5, -6, 2.5 * at], [1, 0, 0, 0, 1, 0]
        one.PixelSpacing, one.SliceThickness, one.RescaleSlope, one.RescaleIntercept = [0.8, 0.8], 2.5, 1, -1024
        pixels = RANDOM.integers(0, 3000, SIDES).astype(np.uint16)
        one.set_pixel_data(pixels, "MONOCHROME2", 16)
        one.save_as(folder / f"{patient}-{(5 * at) % count}.dcm", enforce_file_format=True)
        found.append(one)
    return found


def draw(folder: Path, sources: list[pydicom.Dataset], mask: NDArray[Any], kind: str, **options: Any) -> Path:
    """A file of segments: `mask` (n, h, w) of 0, liver 1, cyst 2, or (n, h, w, 2) of each."""
    described = [
        seg.SegmentDescription(
            segment_number=at,
            segment_label=f"of John Doe {at}",
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=code,
            algorithm_type=seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for at, code in ((1, codes.SCT.Liver), (2, codes.SCT.Cyst))
    ]
    made = seg.Segmentation(
        source_images=sources, pixel_array=mask, segmentation_type=kind, segment_descriptions=described,
        series_instance_uid=generate_uid(), series_number=2, sop_instance_uid=generate_uid(), instance_number=1,
        manufacturer="m", manufacturer_model_name="n", software_versions="1", device_serial_number="1", **options,
    )  # fmt: skip
    made.save_as(path := folder / f"seg-{sources[0].PatientID}.dcm")
    return path


def masked(at: int, count: int) -> NDArray[np.uint8]:
    mask = np.zeros((count, *SIDES), np.uint8)
    mask[1 : count - 1, 2:9, 3 : 6 + at % 4], mask[count // 2, 9:11, :5] = 1, 2
    return mask


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[NDArray[np.uint8]]]:
    folder = tmp_path_factory.mktemp("seg")
    found = [masked(at, 9) for at in range(9)]
    for at, mask in enumerate(found):
        kind = ("BINARY", "FRACTIONAL", "LABELMAP")[at % 3]
        shares = np.stack([mask == 1, mask == 2], axis=3).astype(float) * 0.9
        draw(folder, slices(folder, at, 9), shares if kind == "FRACTIONAL" else mask, kind)
    return folder, found


def truth_of(source: Any, row: int) -> NDArray[Any]:
    assert isinstance(source.truth, Masks)
    assert source.truth.raw is not None
    return np.asarray(source.truth.raw(row))


def test_masks_of_series_lie_as_their_volumes_do(volumes: tuple[Path, list[NDArray[np.uint8]]], tmp_path: Path) -> None:
    folder, masks = volumes
    source = open_data(folder, form=Masks)
    assert (source.n, source.dims) == (9, 3)
    numbers = {2: 1, 1: 2}  # cyst, liver: by name
    for row, mask in enumerate(masks):
        wanted = np.vectorize(lambda value: numbers.get(value, 0))(mask)[:, ::-1, ::-1]
        np.testing.assert_array_equal(truth_of(source, row), wanted)
    data = prepare(source, tmp_path)
    assert data.truth.about["structures"] == ["Cyst", "Liver"]
    assert not any("John" in str(note) for note in (*data.notes, data.record))
    with pytest.raises(UserError, match="labels for the DICOM"):
        open_data(folder, form=Classes)


def test_masks_of_images_and_of_a_part_of_them(tmp_path: Path) -> None:
    """Series of few slices are images; a slice that shows nothing has an empty mask, one without a file none."""
    for at in range(9):
        sources, mask = slices(tmp_path, at, 4), masked(at, 4)
        if at < 8:
            draw(tmp_path, sources, mask, "BINARY", omit_empty_frames=True)
    source = open_data(tmp_path, form=Masks)
    assert (source.n, source.dims, int(source.truth.known.sum())) == (36, 2, 32)
    shown = [truth_of(source, row) for row in range(32)]
    assert sorted(int((mask == 2).sum()) for mask in shown)[:16] == [0] * 16
    assert {mask.shape for mask in shown} == {SIDES}
    assert [int((mask == 1).sum()) for mask in shown].count(10) == 8


def test_segments_that_overlap_or_lie_elsewhere_are_no_masks(
    volumes: tuple[Path, list[NDArray[np.uint8]]], tmp_path: Path
) -> None:
    both = np.stack([masked(0, 9) > 0, masked(0, 9) == 1], axis=3).astype(np.uint8)
    for at in range(8):
        sources = slices(tmp_path, at, 9)
        path = draw(tmp_path, sources, both if at == 1 else masked(at, 9), "BINARY")
        if at in (2, 3):
            one = pydicom.dcmread(path)
            for group in one.PerFrameFunctionalGroupsSequence:
                group.PlanePositionSequence[0].ImagePositionPatient[at - 2] += 40
            one.save_as(path)
    source = open_data(tmp_path, form=Masks)
    assert truth_of(source, 0).any()
    for row, reason in ((1, "its structures overlap"), (2, "elsewhere in space"), (3, "elsewhere in space")):
        with pytest.raises(Unreadable, match=reason):
            truth_of(source, row)


def test_structures_of_a_study_keep_their_numbers(
    volumes: tuple[Path, list[NDArray[np.uint8]]], tmp_path: Path
) -> None:
    from autossl.data.open import open_images

    folder, _ = volumes
    study = prepare(open_data(folder, form=Masks), tmp_path / "study").truth
    (tmp_path / "new").mkdir()
    only = np.where(masked(0, 9) == 1, 1, 0).astype(np.uint8)
    draw(tmp_path / "new", slices(tmp_path / "new", 0, 9), only, "BINARY")
    source = open_images(tmp_path / "new", study=study, window="ct", channels=1, dims=3)
    assert set(np.unique(truth_of(source, 0))) == {0, 2}
