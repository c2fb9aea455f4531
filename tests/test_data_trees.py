"""Arrays in HDF5, Zarr and .npy: the same as in an .npz, by a path inside, and nothing that leads elsewhere."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autossl.data import ROBUST, open_data, prepare
from autossl.data.readers.images import Unreadable, decode, look
from autossl.errors import UserError

h5py: Any = pytest.importorskip("h5py", reason="h5py is not installed")
zarr: Any = pytest.importorskip("zarr", reason="zarr is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # of Zarr, for texts
DEPTHS = ("u1", "u2", "i2", "i4", "i8", "f4", "f8", "?")


def noise(dtype: str, *shape: int) -> NDArray[Any]:
    values = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 256, shape)
    return (values / 255 if dtype.startswith("f") else values).astype(dtype)


def write(path: Path, arrays: dict[str, Any], **options: Any) -> Path:
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                text = np.asarray(values).dtype.kind == "U"
                file.create_dataset(name, data=np.asarray(values, dtype=object) if text else values, **options)
    else:
        group = zarr.open_group(path, mode="w", **options)
        for name, values in arrays.items():
            above, _, leaf = name.rpartition("/")
            (group.require_group(above) if above else group).create_array(leaf, data=np.asarray(values))
    return path


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_arrays_are_those_of_an_npz(tmp_path: Path, suffix: str) -> None:
    labels, patients = np.arange(24) % 2, np.arange(24) // 2
    for dtype in DEPTHS:
        for shape in ((24, 12, 10), (24, 9, 10, 11)):
            arrays: dict[str, Any] = {
                "images": noise(dtype, *shape),
                "labels": labels,
                "patients": patients,
                "other": labels,
            }
            np.savez(tmp_path / "x.npz", **arrays)
            options: dict[str, Any] = {"compression": "gzip"} if suffix == ".h5" else {}
            path = write(tmp_path / f"{dtype}{len(shape)}{suffix}", arrays, **options)
            found, wanted = open_data(path), open_data(tmp_path / "x.npz")
            np.testing.assert_array_equal(found.read(3), wanted.read(3), strict=True)
            assert (found.key, found.truth.names, found.patients) == (wanted.key, wanted.truth.names, wanted.patients)


@pytest.mark.parametrize(
    ("suffix", "options"), [(".h5", {}), (".zarr", {"zarr_format": 2}), (".zarr", {"zarr_format": 3})]
)
def test_a_path_inside_names_a_group_or_the_images(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    arrays = {
        "a/scans": noise("u1", 20, 12, 12),
        "a/labels": np.array(["x", "yz"] * 10),
        "a/images": noise("u1", 20, 8, 8),
    }
    path = write(tmp_path / f"one{suffix}", arrays, **options)
    assert open_data(f"{path}::/a").read(0).shape == (8, 8, 1)
    source = open_data(f"{path}::a/scans")
    np.testing.assert_array_equal(source.read(4)[..., 0], arrays["a/scans"][4])
    assert source.truth.names == ("x", "yz")
    for part in ("b", "a/b", "a/scans/b"):
        with pytest.raises(UserError, match=f"{part} was wanted, found .* on the way there in"):
            open_data(f"{path}::{part}")
    with pytest.raises(UserError, match=r"found the arrays a in .*; save the arrays under these names"):
        open_data(path)


def test_hdf5_that_leads_elsewhere_or_promises_too_much(tmp_path: Path) -> None:
    other = write(tmp_path / "other.h5", {"images": noise("u1", 20, 12, 12)})

    def outside(file: Any) -> None:
        file["images"] = h5py.ExternalLink(other, "images")

    def soft(file: Any) -> None:
        file["images"] = h5py.SoftLink("/x")

    def virtual(file: Any) -> None:
        layout = h5py.VirtualLayout((20, 12, 12), "u1")
        layout[:] = h5py.VirtualSource(other, "images", (20, 12, 12))
        file.create_virtual_dataset("images", layout)

    def raw_file(file: Any) -> None:
        file.create_dataset("images", (20, 12, 12), "u1", external=[("x.bin", 0, 20 * 144)])

    def empty(file: Any) -> None:
        file.create_dataset("images", (10**6, 1000, 1000), "f8", chunks=(1, 1000, 1000))

    def records(file: Any) -> None:
        file["images"] = np.zeros((20, 12), [("a", "u1"), ("b", "u1")])

    numbers, link = "arrays of numbers or text", "found a link"
    for made, reason in (
        *((outside, link), (soft, link), (virtual, "elsewhere"), (raw_file, "elsewhere")),
        *((empty, "of which 0 are stored"), (records, numbers)),
    ):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            made(file)
        with pytest.raises(UserError, match=reason):
            open_data(tmp_path / "x.h5")
    for data in (b"", b"\x89HDF\r\n\x1a\n" + bytes(100), other.read_bytes()[:900]):
        (tmp_path / "x.h5").write_bytes(data)
        with pytest.raises(UserError, match="damaged or of another form"):
            open_data(tmp_path / "x.h5")


def test_zarr_packed_by_what_runs_code_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", {"images": noise("u1", 20, 12, 12)}, zarr_format=2)
    about = path / "images" / ".zarray"
    told = json.loads(about.read_text())
    for codec in ({"id": "pickle", "protocol": 5}, {"id": "quantize", "digits": 1, "dtype": "<f4"}):
        about.write_text(json.dumps(told | {"filters": [codec]}))
        with pytest.raises(UserError, match=rf"packed by {codec['id']} in|damaged or of another form"):
            open_data(path)
    about.write_text("{}")
    with pytest.raises(UserError, match=r"MedMNIST-layout npz .* was wanted, found"):
        open_data(path)


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.h5", {"images": noise("u1", 20, 12, 12)})
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"the package h5py was wanted .* install autossl-imaging\[arrays\]"):
        open_data(path)


def test_arrays_in_files_of_their_own(tmp_path: Path) -> None:
    """Images of 1 to 4 channels and volumes, by their shape; of each depth what `.npz` makes of it."""
    for dtype in ("u1", "u2", "f4", "?"):
        for at, shape in enumerate(((12, 10), (12, 10, 3))):
            np.save(path := tmp_path / f"{dtype}{at}.npy", noise(dtype, *shape))
            header = look(path)
            assert header is not None
            assert header.size == (12, 10)
            wanted = noise(dtype, *shape).reshape(12, 10, -1)
            scale = {"u1": 1, "u2": 1, "f4": 65535, "?": 255}[dtype]
            np.testing.assert_array_equal(decode(path), np.rint(wanted.astype("f8") * scale))
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for at in range(12):
            np.save(tmp_path / "set" / name / f"{at}.npy", np.roll(noise("f4", 9, 10, 11) * 2, at + 12 * (name == "b")))
    source = open_data(tmp_path / "set")
    assert (source.n, source.dims, source.window) == (24, 3, ROBUST)
    assert source.values is not None
    np.testing.assert_array_equal(source.values(0)[..., 0], noise("f4", 9, 10, 11) * 2)
    assert prepare(source, tmp_path / "cache").images.shape == (24, 11, 11, 11, 1)
    np.save(tmp_path / "more.npy", noise("f4", 5, 9, 10, 11) * 3)
    assert open_data(tmp_path / "set", unlabeled=tmp_path / "more.npy").n == 29


def test_arrays_that_lie_are_named(tmp_path: Path) -> None:
    np.save(path := tmp_path / "x.npy", noise("u1", 12, 12))
    whole = path.read_bytes()
    for data, reason in ((whole[:-9], "as many values as its header says"), (whole + b"x", "as many"), (b"", "magic")):
        path.write_bytes(data)
        assert look(path) is None
        with pytest.raises(Unreadable, match=reason):
            decode(path)
    np.save(path, np.array([{}, 1], dtype=object), allow_pickle=True)
    with pytest.raises(Unreadable, match="holds objects, which could run code"):
        decode(path)
    with pytest.raises(UserError, match="holds objects"):
        open_data(path)
