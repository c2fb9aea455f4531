"""Archives read in place: as the folder that was packed, nothing written, and nothing that leads out of them."""

import io
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autossl.data import open_data, prepare
from autossl.data.truth import Masks
from autossl.errors import UserError

nib: Any = pytest.importorskip("nibabel", reason="nibabel is not installed")
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders, a table of them, images and masks, volumes."""
    root = tmp_path_factory.mktemp("packed") / "set"
    lines = ["image,label,patient"]
    for at in range(24):
        for place in (root / "classes" / "ab"[at % 2], root / "pairs" / "images", root / "pairs" / "masks"):
            place.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(RANDOM.integers(0, 200, (12, 12), dtype=np.uint8))
            (image.point([0] * 100 + [1] * 156) if place.name == "masks" else image).save(place / f"{at}.png")
        lines.append(f"{'ab'[at % 2]}/{at}.png,{'xy'[at % 2]},p{at // 2}")
        (root / "volumes" / "ab"[at % 2]).mkdir(parents=True, exist_ok=True)
        form = nib.Nifti2Image if at % 3 else nib.Nifti1Image
        volume = form(RANDOM.integers(0, 999, (9, 10, 11)).astype(">i2" if at % 2 else "<i2"), np.diag([-2.0, 1, 1, 1]))
        nib.save(volume, root / "volumes" / "ab"[at % 2] / f"{at}.nii{'.gz' if at % 4 else ''}")
    (root / "classes" / "list.csv").write_text("\n".join(lines))
    return root


@pytest.mark.parametrize("form", ["zip", "tar", "stored"])
@pytest.mark.parametrize(("inside", "options"), [("classes", {}), ("pairs", {"form": Masks}), ("volumes", {})])
def test_an_archive_is_the_folder_that_was_packed(
    folder: Path, tmp_path: Path, form: str, inside: str, options: dict[str, Any]
) -> None:
    wanted, path = open_data(folder / inside, **options), tmp_path / f"{inside}.{'tar' if form == 'tar' else 'zip'}"
    if form == "stored":
        with zipfile.ZipFile(path, "w") as file:
            for each in sorted((folder / inside).rglob("*")):
                file.write(each, each.relative_to(folder))  # one folder above all, which is entered
    else:
        shutil.make_archive(str(path.with_suffix("")), form, folder / inside)
    before = sorted(tmp_path.iterdir())
    found = open_data(path, **options)
    assert (found.n, found.truth.names, found.patients) == (wanted.n, wanted.truth.names, wanted.patients)
    data, other = prepare(found, tmp_path / "a"), prepare(wanted, tmp_path / "b")
    np.testing.assert_array_equal(data.images, other.images)
    np.testing.assert_array_equal(data.truth.array, other.truth.array)
    assert sorted(each for each in tmp_path.iterdir() if each.name not in "ab") == before


def test_one_file_or_folder_of_an_archive(folder: Path, tmp_path: Path) -> None:
    path = Path(shutil.make_archive(str(tmp_path / "all"), "zip", folder))
    assert open_data(path / "classes" / "list.csv").patients == open_data(folder / "classes" / "list.csv").patients
    assert open_data(path / "volumes").dims == 3
    with pytest.raises(UserError, match=r"found nothing at .*all.zip/nowhere"):
        open_data(path / "nowhere")


def crafted(path: Path, names: list[str], **about: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.compress_type = about.get("packing", zipfile.ZIP_DEFLATED)
            info.external_attr = about.get("mode", 0o644) << 16
            file.writestr(info, about.get("data", b"x" * 100))
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "about", "reason"),
    [
        (["a/../../x.png"], {}, "a name that leads out of it"),
        (["/etc/x.png"], {}, "a name that leads out of it"),
        (["a\\..\\x.png"], {}, "a name that leads out of it"),
        (["a//x.png"], {}, "a name that leads out of it"),
        (["a/x.png", "a/x.png"], {}, "two files of one name"),
        (["a", "a/x.png"], {}, "a name that is a file and a folder"),
        (["a/x.png"], {"packing": zipfile.ZIP_LZMA}, "packed by another method than deflate"),
    ],
)
def test_names_and_packings_that_are_not_safe(tmp_path: Path, names: list[str], about: Any, reason: str) -> None:
    with pytest.raises(UserError, match=f"safe to read was wanted, found .*{reason} in .*x.zip; unpack and look"):
        open_data(crafted(tmp_path / "x.zip", names, **about))


def test_links_bombs_and_damage(folder: Path, tmp_path: Path) -> None:
    linked = crafted(tmp_path / "l.zip", ["a/x.png", "b/x.png"], mode=stat.S_IFLNK | 0o777, data=b"/etc/passwd")
    with pytest.raises(UserError, match="found no file in"):
        open_data(linked)
    whole = Path(shutil.make_archive(str(tmp_path / "w"), "zip", folder / "classes")).read_bytes()
    at = whole.rindex(b"PK\1\2")  # of the last file: its size in the directory becomes a promise
    (tmp_path / "b.zip").write_bytes(whole[: at + 24] + (1 << 30).to_bytes(4, "little") + whole[at + 28 :])
    with pytest.raises(UserError, match="promises more than it can hold"):
        open_data(tmp_path / "b.zip")
    for damaged in (b"", b"PK" + bytes(30), whole[:-30]):
        (tmp_path / "d.zip").write_bytes(damaged)
        (tmp_path / "d.tar").write_bytes(damaged)
        for name in ("d.zip", "d.tar"):
            with pytest.raises(UserError, match=r"damaged at .*copy it again|found no file in"):
                open_data(tmp_path / name)
    broken = bytearray(whole)
    with zipfile.ZipFile(tmp_path / "w.zip") as archive:
        first = next(each for each in archive.infolist() if each.filename.endswith(".png"))
    broken[first.header_offset + 30 + len(first.filename) + 60] ^= 255
    (tmp_path / "c.zip").write_bytes(broken)
    data = prepare(open_data(tmp_path / "c.zip"), tmp_path / "cache")
    assert data.record["flaws"]["unreadable"] == 1
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        info = tarfile.TarInfo("a/../../x.png")
        info.size = 1
        file.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(UserError, match="leads out of it"):
        open_data(tmp_path / "x.tar")
    with pytest.raises(
        UserError, match=r"a compressed tar at .*x.tar.gz, of which no file can be read by itself; unpack"
    ):
        open_data(tmp_path / "x.tar.gz")
