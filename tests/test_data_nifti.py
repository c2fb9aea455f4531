"""NIfTI files: orientation, spacing, windows, and files that lie or are damaged."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from autossl.data import CT, KEPT, ROBUST, open_data, prepare, read_images
from autossl.data.readers.images import Header, Unreadable
from autossl.data.readers.volume_files import decode, look, raw, write_like
from autossl.errors import UserError

nib: Any = pytest.importorskip("nibabel", reason="nibabel is not installed")
RANDOM = np.random.default_rng(0)


def noise(*shape: int, most: int = 256, dtype: Any = np.uint8) -> NDArray[Any]:
    return RANDOM.integers(0, most, shape).astype(dtype)


def save(path: Path, values: NDArray[Any], affine: NDArray[Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def manifest(root: Path, volumes: list[NDArray[Any]], affine: NDArray[Any] | None = None) -> Path:
    lines = ["image,label,patient"]
    for row, volume in enumerate(volumes):
        save(root / f"{row}.nii", volume, affine)
        lines.append(f"{row}.nii,{'ab'[row % 2]},p{row // 2 * 2 + row % 2}")
    (root / "list.csv").write_text("\n".join(lines))
    return root / "list.csv"


@pytest.mark.parametrize("name", ["one.nii", "one.nii.gz", "One.NII.GZ"])
def test_axes_are_turned_to_the_body(tmp_path: Path, name: str) -> None:
    """Whatever way a volume lies in its file, d runs towards the head, h to the front, w to the right."""
    volume = noise(9, 10, 11)  # x to the right, y to the front, z to the head
    path = save(tmp_path / name, volume, np.diag([1.0, 2.0, 3.0, 1.0]))
    assert look(path) == Header((11, 10, 9), 1, 255, (3.0, 2.0, 1.0))
    np.testing.assert_array_equal(decode(path, KEPT)[..., 0], volume.transpose(2, 1, 0))
    affine = np.zeros((4, 4))  # file axes: towards the feet, to the left, to the front
    affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = -3, -1, 2, 1
    turned = save(tmp_path / "turned.nii", volume.transpose(2, 0, 1)[::-1, ::-1], affine)
    assert look(turned) == look(path)
    np.testing.assert_array_equal(raw(turned), raw(path))


def test_an_oblique_volume_takes_the_nearest_axes(tmp_path: Path) -> None:
    angle = np.deg2rad(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = noise(9, 10, 11)
    path = save(tmp_path / "one.nii", volume, affine @ np.diag([1.0, 1.0, 5.0, 1.0]))
    header = look(path)
    assert header is not None
    np.testing.assert_allclose(header.spacing, (5, 1, 1), atol=1e-5)
    np.testing.assert_array_equal(raw(path)[..., 0], volume.transpose(2, 1, 0))


def test_a_manifest_with_spacing_is_brought_to_cubes(tmp_path: Path) -> None:
    source = open_data(manifest(tmp_path, [noise(20, 20, 10) for _ in range(40)], np.diag([1.0, 1.0, 2.0, 1.0])))
    assert (source.dims, source.window, source.has_patients) == (3, KEPT, True)
    data = prepare(source, tmp_path / "cache", image_size=20)
    assert data.images.shape == (40, 20, 20, 20, 1)  # 10 slices of 2 mm fill the cube
    assert data.images.dtype == np.uint8
    assert min(np.ptp(data.images[0, 0]), np.ptp(data.images[0, -1])) > 100
    fresh = read_images(tmp_path / "list.csv", 20, 1, data.scale, data.truth, dims=3)
    np.testing.assert_array_equal(fresh.images, data.images)
    assert fresh.truth.strata.tolist() == [0, 1] * 20


def test_class_folders_of_nifti(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for row in range(3):
            save(tmp_path / "set" / name / f"{name}{row}.nii.gz", noise(9, 9, 9))
    source = open_data(tmp_path / "set")
    assert (source.n, source.dims, source.truth.names) == (6, 3, ("a", "b"))
    (tmp_path / "labels.csv").write_text("image,label\na0,x\na1,y\na2,x\nb0,y\n")
    source = open_data(tmp_path / "set", labels=tmp_path / "labels.csv")
    assert source.truth.strata.tolist() == [0, 1, 0, 1, -1, -1]


def test_signed_volumes_with_air_are_ct_and_others_are_not(tmp_path: Path) -> None:
    body = [noise(9, 9, 9, most=500, dtype=np.int16) - 150 for _ in range(6)]
    assert open_data(manifest(tmp_path / "mr", body)).window == ROBUST
    assert open_data(manifest(tmp_path / "mr", body), ct=True).window == CT
    for volume in body:
        volume[:3] = -1000
    source = open_data(manifest(tmp_path / "ct", body))
    assert source.window == CT
    np.testing.assert_array_equal(source.read(2)[..., 0].astype(int) - 1024, body[2].transpose(2, 1, 0))
    assert (source.white == 4095).all()


def test_scaled_values_are_read_in_their_units(tmp_path: Path) -> None:
    stored = noise(9, 9, 9, most=2000, dtype=np.int16)
    stored[:3] = 24
    image = nib.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(1, -1024)
    nib.save(image, tmp_path / "one.nii")
    np.testing.assert_array_equal(raw(tmp_path / "one.nii")[..., 0], stored.transpose(2, 1, 0) - 1024.0)
    header = look(tmp_path / "one.nii")
    assert header is not None
    assert header.white == -1


def test_8_and_16_bit_volumes_are_kept_side_by_side(tmp_path: Path) -> None:
    volumes = [noise(9, 9, 9) if row % 2 else noise(9, 9, 9, most=4000, dtype=np.uint16) for row in range(40)]
    volumes[0][0, 0, 0] = 3999
    data = prepare(open_data(manifest(tmp_path, volumes)), tmp_path / "cache")
    assert (data.scale, data.images.dtype.name) == (4095, "uint16")
    np.testing.assert_array_equal(data.images[0, ..., 0], volumes[0].transpose(2, 1, 0))
    assert any("20 8-bit images among 16-bit ones" in note for note in data.notes)


def test_four_axes_are_channels_or_a_series(tmp_path: Path) -> None:
    many = noise(9, 10, 11, 3)
    path = save(tmp_path / "many.nii", many)
    assert look(path) == Header((11, 10, 9), 3, 255, (1.0, 1.0, 1.0))
    np.testing.assert_array_equal(raw(path), many.transpose(2, 1, 0, 3))
    assert raw(save(tmp_path / "one.nii", many[..., :1])).shape == (11, 10, 9, 1)
    series = save(tmp_path / "series.nii", noise(9, 9, 9, 20))
    assert look(series) is None
    with pytest.raises(Unreadable, match="a series of 20 volumes: choose one by ::0 to ::19 behind its name"):
        raw(series)


def lying(path: Path, offset: int, content: bytes) -> None:
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(content)] = content
    path.write_bytes(whole)


@given(
    st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=5), st.booleans(), st.integers(0)
)
def test_any_header_ends_in_a_volume_or_in_a_reason(
    tmp_path_factory: pytest.TempPathFactory, bytes_: list[tuple[int, int]], packed: bool, flip: int
) -> None:
    path = tmp_path_factory.getbasetemp() / ("any.nii.gz" if packed else "any.nii")
    nib.save(nib.Nifti1Image(np.ones((9, 10, 11), np.int16), np.diag([1.0, 1.5, 2.0, 1.0])), path)
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    for at, value in bytes_:
        content[at] = value
    if packed:
        content = bytearray(gzip.compress(content))
        content[flip % len(content)] ^= 1
    path.write_bytes(content)
    try:
        values = raw(path)
    except Unreadable:
        return
    header = look(path)
    assert header is not None
    assert values.shape == (*header.size, header.channels)


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_text(path: Path) -> None:
    path.write_text("no volume " * 100)


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


def damage_head_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def damage_size(path: Path) -> None:
    lying(path, 40, np.array([3, 30, 30, 30], "<i2").tobytes())


def damage_huge(path: Path) -> None:
    lying(path, 40, np.array([3, 32000, 32000, 32000], "<i2").tobytes())


def damage_negative(path: Path) -> None:
    lying(path, 40, np.array([3, 12, -12, 12], "<i2").tobytes())


def damage_type(path: Path) -> None:
    lying(path, 70, np.array([9999], "<i2").tobytes())


def damage_spacing(path: Path) -> None:
    save(path, noise(12, 12, 12), np.diag([1.0, 1.0, 900.0, 1.0]))


def damage_no_spacing(path: Path) -> None:
    image = nib.Nifti1Image(noise(12, 12, 12), np.eye(4))
    image.set_sform(np.diag([1.0, 0.0, 1.0, 1.0]), code=1)
    nib.save(image, path)


def damage_nan(path: Path) -> None:
    volume = RANDOM.random((12, 12, 12)).astype(np.float32)
    volume[3, 3, 3] = np.nan
    save(path, volume)


def damage_slice(path: Path) -> None:
    save(path, noise(12, 12))


def damage_colours(path: Path) -> None:
    save(path, np.zeros((12, 12, 12), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))


def damage_complex(path: Path) -> None:
    save(path, np.ones((12, 12, 12), dtype=np.complex64))


DAMAGES = {
    damage_empty: "it is empty",
    damage_text: "no NIfTI file or damaged",
    damage_cut: "it is damaged",
    damage_head_only: "no NIfTI file or damaged",
    damage_size: "it is damaged",
    damage_huge: "its header says 32000 x 32000 x 32000 voxels",
    damage_negative: "its header says 12 x -12 x 12 voxels|damaged",
    damage_type: "no NIfTI file or damaged",
    damage_spacing: "its header gives voxels of 1 x 1 x 900 mm",
    damage_no_spacing: "its header gives no (size of voxels|orientation)",
    damage_nan: "it holds voxels that are NaN or infinite",
    damage_slice: "it holds a slice, no volume",
    damage_colours: "its voxels are no single numbers",
    damage_complex: "its voxels are no single numbers",
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_bad_file_is_set_aside_or_named(tmp_path: Path, damage: Any, reason: str) -> None:
    table = manifest(tmp_path, [noise(12, 12, 12) for _ in range(40)])
    damage(tmp_path / "5.nii")
    with pytest.raises(Unreadable, match=reason) as caught:
        raw(tmp_path / "5.nii")
    assert "\n" not in str(caught.value)
    data = prepare(open_data(table), tmp_path / "cache")
    assert data.record["flaws"]["unreadable"] == 1
    for row in range(6, 9):
        (tmp_path / f"{row}.nii").write_bytes((tmp_path / "5.nii").read_bytes())
    with pytest.raises(
        UserError, match=rf"found \d of 40 that cannot be read in .*, the first 5.nii \(.*({reason}).*\)"
    ):
        prepare(open_data(table), tmp_path / "again")


def test_a_damaged_archive(tmp_path: Path) -> None:
    path = save(tmp_path / "one.nii.gz", noise(12, 12, 12))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(Unreadable, match="it is damaged"):
        raw(path)
    path.write_bytes(gzip.compress(b"")[:12])
    with pytest.raises(Unreadable, match="damaged"):
        raw(path)


def test_images_beside_volumes_and_other_channels_are_refused(tmp_path: Path) -> None:
    table = manifest(tmp_path, [noise(12, 12, 12) for _ in range(6)])
    save(tmp_path / "5.nii", noise(12, 12, 12, 2))
    with pytest.raises(UserError, match=r"found 5 with 1 \(such as 0.nii\) and 1 with 2 \(such as 5.nii\) in"):
        open_data(table)
    Image.fromarray(noise(12, 12)).save(tmp_path / "6.png")
    table.write_text(table.read_text() + "\n6.png,a,q\n")
    with pytest.raises(UserError, match=r"found 1 images \(such as 6.png\) beside 6 volumes \(such as 0.nii\) in"):
        open_data(table)


def test_real_volumes_of_mixed_types(shared_data: Path, tmp_path: Path) -> None:
    source = open_data(shared_data / "msd_hippocampus" / "manifest.csv", label_column="dtype")
    data = prepare(source, tmp_path)
    assert source.window == ROBUST
    assert data.images.shape == (260, 48, 48, 48, 1)
    assert data.scale == 65535
    assert data.record["flaws"]["unreadable"] == 0
    assert 0.3 < data.mean[0] < 0.7
    assert 0.1 < data.std[0] < 0.3


def test_what_belongs_to_a_volume_that_is_no_nifti_lies_along_the_body(tmp_path: Path) -> None:
    """Volumes of DICOM are folders and files that no reader of NIfTI opens; their spacing is known."""
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_like(values, tmp_path / "slice.dcm", (2.5, 1.0, 0.5), tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(raw(tmp_path / "mask.nii.gz")[..., 0], values)
    header = look(tmp_path / "mask.nii.gz")
    assert header is not None
    np.testing.assert_allclose(header.spacing, (2.5, 1.0, 0.5))
