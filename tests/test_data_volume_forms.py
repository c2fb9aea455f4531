"""Volumes besides NIfTI: every form as its own library writes it, layouts of folders, and files that lie."""

import bz2
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autossl.data import CT, KEPT, open_data, prepare
from autossl.data.readers.images import Header, Unreadable
from autossl.data.readers.volume_files import check_same_grid, decode, look, raw, write_like
from autossl.data.truth import Masks
from autossl.errors import UserError

nib: Any = pytest.importorskip("nibabel", reason="nibabel is not installed")
itk: Any = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
RANDOM = np.random.default_rng(0)
DEPTHS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
FORMS = (".mha", ".mhd", ".nrrd", ".nhdr")


def noise(*shape: int, dtype: str = "u1") -> NDArray[Any]:
    if dtype.startswith("f"):
        return RANDOM.normal(0, 1e3, shape).astype(dtype)
    ends = np.iinfo(dtype)
    return RANDOM.integers(ends.min, ends.max, shape, dtype=dtype, endpoint=True)


def volume(values: NDArray[Any], vector: bool = False) -> Any:
    """An oblique volume of ITK, values (z, y, x[, c])."""
    image = itk.GetImageFromArray(values, isVector=vector)
    turned = itk.Euler3DTransform((0, 0, 0), 0.3, -2.0, 1.1).GetMatrix()
    image.SetDirection(turned)
    image.SetSpacing((0.7, 1.5, 3.0))
    image.SetOrigin((-10.0, 20.0, 5.5))
    return image


@pytest.mark.parametrize("suffix", FORMS)
@pytest.mark.parametrize("packed", [False, True])
def test_values_place_and_spacing_are_those_of_itk(tmp_path: Path, suffix: str, packed: bool) -> None:
    """Turned to the body, as ITK does it; each depth to the last bit."""
    for dtype in DEPTHS:
        image = volume(noise(9, 10, 11, dtype=dtype))
        path = tmp_path / f"{dtype}{suffix}"
        itk.WriteImage(image, str(path), packed)
        turned = itk.DICOMOrient(image, "RAS")
        np.testing.assert_array_equal(raw(path)[..., 0], itk.GetArrayFromImage(turned), strict=True)
        header = look(path)
        assert header is not None
        assert header.size == turned.GetSize()[::-1]
        np.testing.assert_allclose(header.spacing, turned.GetSpacing()[::-1])
        assert header.white == {"u1": 255, "u2": 0}.get(dtype, -1)
        itk.WriteImage(image, str(like := tmp_path / f"{dtype}.nii.gz"))
        if not dtype.endswith("8"):
            check_same_grid(like, path)


def test_colours_and_series_have_axes_behind_space(tmp_path: Path) -> None:
    colours = noise(9, 10, 11, 3)
    for suffix in FORMS:
        itk.WriteImage(itk.GetImageFromArray(colours, isVector=True), str(path := tmp_path / f"c{suffix}"))
        np.testing.assert_array_equal(raw(path), colours[:, ::-1, ::-1])
    series = noise(6, 9, 10, 11, dtype="i2")
    for suffix in (".mha", ".nrrd", ".nii.gz"):
        itk.WriteImage(itk.GetImageFromArray(series, isVector=False), str(path := tmp_path / f"t{suffix}"))
        with pytest.raises(Unreadable, match="a series of 6 volumes: choose one by ::0 to ::5 behind its name"):
            raw(path)
        for at in (0, 5):
            found = raw(tmp_path / f"t{suffix}::{at}")
            np.testing.assert_array_equal(found[..., 0], series[at, :, ::-1, ::-1])
        for wrong, reason in (
            ("6", "holds 6 volumes, and number 6"),
            ("x", "numbers were wanted"),
            ("-1", "number -1"),
        ):
            with pytest.raises(Unreadable, match=reason):
                raw(tmp_path / f"t{suffix}::{wrong}")


def test_nrrd_of_other_programs(tmp_path: Path) -> None:
    """Vectors first, other spaces, big ends, bzip2, voxels at the end, no space at all."""
    values = noise(3, 9, 10, 11, dtype="i2")  # channels run fastest: the header counts the other way round
    flat = np.ascontiguousarray(values.transpose(3, 2, 1, 0)).astype(">i2").tobytes()
    lines = ["NRRD0004", "# by hand", "type: short", "dimension: 4", "sizes: 3 9 10 11", "endian: big", "note:=x: y"]
    space = ["space: RAS", "space directions: none (1,0,0) (0,1.5,0) (0,0,2)", "kinds: vector domain domain domain"]
    for name, more, data in (
        ("packed", [*space, "encoding: bz2"], bz2.compress(flat)),
        ("skipped", [*space, "encoding: raw", "byte skip: -1"], b"thumbnail" + flat),
        ("lines", [*space, "encoding: raw", "line skip: 2", "byte skip: 3"], b"a\nb\nxyz" + flat),
        ("spaced", ["spacings: nan 1 1.5 2", "encoding: raw"], flat),
    ):
        path = tmp_path / f"{name}.nrrd"
        path.write_bytes("\n".join([*lines, *more]).encode() + b"\n\n" + data)
        expected = values.transpose(3, 2, 1, 0)
        expected = expected[:, ::-1, ::-1] if name == "spaced" else expected  # as ITK: to the left and to the back
        np.testing.assert_array_equal(raw(path), expected)
        assert look(path) == Header((11, 10, 9), 3, -1, (2.0, 1.5, 1.0))


def test_analyze_is_read_as_nibabel_reads_it_and_its_sides_are_a_guess(tmp_path: Path) -> None:
    for row in range(24):
        values = noise(9, 10, 11, dtype="i2" if row else "u1")
        image = (
            nib.AnalyzeImage(values, np.diag([-2.0, 2, 2, 1]))
            if row
            else nib.Nifti1Pair(values, np.diag([-2.0, 2, 2, 1]))
        )
        (tmp_path / "ab"[row % 2]).mkdir(exist_ok=True)
        nib.save(image, path := tmp_path / "ab"[row % 2] / f"{row}.img")
        np.testing.assert_array_equal(raw(path)[..., 0], values[::-1].transpose(2, 1, 0))
        np.testing.assert_array_equal(raw(path.with_suffix(".hdr")), raw(path))
    source = open_data(tmp_path)
    assert (source.n, source.dims) == (24, 3)
    assert "23 volumes of a form that does not tell left from right, taken as SPM takes them" in source.notes


def write_nnunet(root: Path, cases: int = 20, channels: int = 2) -> list[NDArray[Any]]:
    found = []
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (root / folder).mkdir(parents=True)
    for case in range(cases):
        values = noise(9, 9, 9, channels, dtype="i2") // 8
        for at in range(channels):
            itk.WriteImage(itk.GetImageFromArray(values[..., at]), str(root / "imagesTr" / f"c{case:03}_{at:04}.nrrd"))
        mask = np.zeros((9, 9, 9), np.uint8)
        mask[2:5, 2:6], mask[6:8] = 1, 2 - case % 2
        itk.WriteImage(itk.GetImageFromArray(mask), str(root / "labelsTr" / f"c{case:03}.nrrd"))
        found.append(values)
    about = {
        "channel_names": {str(at): "CT" for at in range(channels)},
        "labels": {"background": 0, "liver": 1, "cyst": 2},
    }
    (root / "dataset.json").write_text(json.dumps(about))
    return found


def test_channels_of_nnunet_are_put_together_and_its_names_are_used(tmp_path: Path) -> None:
    volumes = write_nnunet(tmp_path / "set")
    source = open_data(tmp_path / "set", form=Masks)
    assert (source.n, source.channels, source.window, source.modality) == (20, 2, CT, "CT")
    wanted = np.clip(volumes[3][:, ::-1, ::-1].astype(int), -1024, 3071) + 1024
    np.testing.assert_array_equal(source.read(3), wanted)
    data = prepare(source, tmp_path / "cache")
    assert data.truth.about["structures"] == ["liver", "cyst"]
    (tmp_path / "set" / "imagesTr" / "c004_0001.nrrd").unlink()
    source = open_data(tmp_path / "set", form=Masks)
    assert source.n == 19
    assert "1 case without all of 2 channels set aside" in source.notes
    (tmp_path / "labels.csv").write_text("image,label\n" + "\n".join(f"c{at:03},{'ab'[at % 2]}" for at in range(20)))
    source = open_data(tmp_path / "set", labels=tmp_path / "labels.csv")
    assert (source.channels, source.truth.names, source.truth.strata[:3].tolist()) == (2, ("a", "b"), [0, 1, 0])


def test_a_folder_of_bids(tmp_path: Path) -> None:
    root = tmp_path / "set"
    lines = ["participant_id\tsex\tdiagnosis"]
    for at in range(20):
        for session in ("1", "2"):
            folder = root / f"sub-{at:02}" / f"ses-{session}"
            for kind, shape in (("T1w", (9, 10, 11)), ("bold", (9, 10, 11, 6))):
                (folder / kind).mkdir(parents=True)
                nib.save(
                    nib.Nifti1Image(noise(*shape), np.eye(4)),
                    folder / kind / f"sub-{at:02}_ses-{session}_{kind}.nii.gz",
                )
            made = root / "derivatives" / "drawn" / f"sub-{at:02}"
            made.mkdir(parents=True, exist_ok=True)
            mask = np.zeros((9, 10, 11), np.uint8)
            mask[2:5] = 1
            nib.save(nib.Nifti1Image(mask, np.eye(4)), made / f"sub-{at:02}_ses-{session}_desc-lesion_mask.nii.gz")
        lines.append(f"sub-{at:02}\t{'MF'[at % 2]}\t{['control', 'case', 'n/a'][at % 3]}")
    (root / "dataset_description.json").write_text('{"BIDSVersion": "1.10.0"}')
    (root / "participants.tsv").write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"images of one kind were wanted, found T1w 40, bold 40 in .*::T1w"):
        open_data(root, label_column="diagnosis")
    source = open_data(f"{root}::T1w", label_column="diagnosis")
    assert (source.n, source.dims, source.truth.names, len(source.patients)) == (40, 3, ("case", "control"), 20)
    assert (source.groups[0], source.groups[1], int(source.truth.known.sum())) == (0, 0, 28)
    moving = open_data(f"{root}::bold::4", label_column="sex")
    file = root / "sub-00/ses-1/bold/sub-00_ses-1_bold.nii.gz"
    np.testing.assert_array_equal(moving.read(0)[..., 0], np.asarray(nib.load(file).dataobj)[..., 4].transpose(2, 1, 0))
    assert open_data(f"{root}::T1w", form=Masks).truth.known.all()


def damage_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_long(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"9 9 9", b"9 9 8"))


def damage_huge(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"9 9 9", b"90000 90000 9"))


def damage_elsewhere(path: Path) -> None:
    what = b"ElementDataFile = LOCAL" if path.suffix == ".mha" else b"encoding: gzip"
    told = b"ElementDataFile = ../x.raw" if path.suffix == ".mha" else b"encoding: gzip\ndata file: ../x.raw"
    path.write_bytes(path.read_bytes().replace(what, told))


def damage_text(path: Path) -> None:
    path.write_text("no volume\n" * 100)


DAMAGES = {
    damage_short: "fewer voxels than its header says",
    damage_long: "more voxels than its header says",
    damage_huge: "its header says 90000 x 90000 x 9 voxels",
    damage_elsewhere: "names a file of voxels that does not lie beside it",
    damage_text: "it is no (MetaImage|NRRD) or damaged",
}


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize(("damage", "reason"), DAMAGES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_file_that_lies_is_named(tmp_path: Path, damage: Any, reason: str, suffix: str) -> None:
    itk.WriteImage(itk.GetImageFromArray(noise(9, 9, 9)), str(path := tmp_path / f"one{suffix}"), True)
    damage(path)
    with pytest.raises(Unreadable, match=reason) as caught:
        raw(path)
    assert "\n" not in str(caught.value)


def test_what_belongs_to_a_volume_of_any_form_lies_where_it_does(tmp_path: Path) -> None:
    itk.WriteImage(volume(noise(9, 10, 11)), str(path := tmp_path / "one.nrrd"))
    write_like(raw(path)[..., 0], path, (), tmp_path / "mask.nii.gz")
    check_same_grid(path, tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(decode(tmp_path / "mask.nii.gz", KEPT), raw(path))
