"""DICOM, masks, boxes and single images are told as what they are, not as damaged images or classes."""

from pathlib import Path

import pytest

from autossl.data import open_data, read_images
from autossl.errors import UserError
from tests.test_data_files_hostile import classes, sentence


def dicom(path: Path) -> Path:
    """The head of a DICOM file; Pillow takes it for TIFF, because the 128 bytes before the magic are free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"II*\0" + b"\0" * 124 + b"DICM" + b"\x02\0\0\0UL\x04\0" + b"\0" * 64)
    return path


@pytest.mark.parametrize("name", ["one.dcm", "one", "one.png", "IM.0001"])
@pytest.mark.filterwarnings("error")
def test_dicom_under_any_name_and_in_any_form(tmp_path: Path, name: str) -> None:
    for part in ("flat", "set/a", "set/b"):
        dicom(tmp_path / part / name)
    (tmp_path / "m.csv").write_text(f"image,label\nset/a/{name},a\nset/b/{name},b\n")
    for data in (tmp_path / "set", tmp_path / "m.csv", tmp_path / "flat"):
        assert "readable DICOM was wanted, found" in sentence(data)
    for data in (tmp_path / "flat", tmp_path / "flat" / name):
        with pytest.raises(UserError, match="readable DICOM was wanted, found 1 of 1 file"):
            read_images(data, 12, 1, 255.0)


def test_a_single_image_is_embedded_but_no_study(tmp_path: Path) -> None:
    path = classes(tmp_path) / "a" / "0.png"
    assert read_images(path, 12, 1, 255.0).images.shape == (1, 12, 12, 1)
    assert sentence(path).endswith(
        f"found a single image at {path}; give the folder that holds the class folders, or a CSV with image and label"
    )


def test_images_and_masks_are_no_classes(tmp_path: Path) -> None:
    root = classes(tmp_path, "images", "masks")
    assert f"found images and masks (images, masks) in {root}; for these give --task segmentation" in sentence(root)
    (root / "manifest.csv").write_text(
        "image,mask,kind\n" + "".join(f"images/{at}.png,masks/{at}.png,{at % 2}\n" for at in range(4))
    )
    assert "candidates (kind), in" in sentence(root)
    source = open_data(root, label_column="kind")
    assert source.n == 4
    assert source.name == root.name
    assert source.notes == ("manifest.csv says what the images are, the names of the folders beside it do not",)


def test_annotations_of_objects_are_no_classes(tmp_path: Path) -> None:
    root = classes(tmp_path / "BCCD", "JPEGImages")
    (root / "Annotations").mkdir()
    (root / "Annotations" / "0.xml").write_text("<annotation/>")
    for data in (root, tmp_path):
        assert "for these give --task detection" in sentence(data)


@pytest.mark.parametrize("name", ["hannover_cxr", "dsb2018_nuclei", "chase_db1", "msd_hippocampus", "bccd"])
def test_real_folders_with_other_things_beside_the_images(shared_data: Path, name: str) -> None:
    said = sentence(shared_data / name)
    wanted = {
        "hannover_cxr": "candidates (sex, projection",
        "dsb2018_nuclei": "candidates (image_type",
        "chase_db1": "candidates (eye",
        "msd_hippocampus": "names of images (masks are for --task segmentation)",
        "bccd": "for these give --task detection",
    }
    assert wanted[name] in said
