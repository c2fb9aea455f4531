"""What is no file, may not be read, or is of another kind ends in one sentence, at once."""

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autossl.data import open_data, prepare, read_images
from autossl.errors import UserError

NOBODY = 65534
PATIENCE = 20  # seconds; a pipe or a device would be read without end


RANDOM = np.random.default_rng(0)


def noise(*shape: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def classes(root: Path, *names: str, count: int = 4) -> Path:
    for name in names or ("a", "b"):
        (root / name).mkdir(parents=True)
        for at in range(count):
            Image.fromarray(noise(12, 12)).save(root / name / f"{at}.png")
    return root


def sentence(*args: object, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        open_data(*args, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise TimeoutError("it is read without end")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def make_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


STRANGE: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": make_socket,
}


@pytest.mark.parametrize("what", STRANGE)
@pytest.mark.parametrize("name", ["x.npz", "m.csv", "x", "x.png"])
def test_data_that_are_no_file(tmp_path: Path, what: str, name: str) -> None:
    STRANGE[what](tmp_path / name)
    assert sentence(tmp_path / name).endswith(f"found {what} at {tmp_path / name}; give a file or a folder")


@pytest.mark.parametrize("what", STRANGE)
def test_labels_and_images_that_are_no_files(tmp_path: Path, what: str) -> None:
    root = classes(tmp_path / "set", count=20)
    STRANGE[what](tmp_path / "labels.csv")
    assert sentence(root, labels=tmp_path / "labels.csv").endswith(
        f"found {what} at {tmp_path / 'labels.csv'}; check --labels"
    )
    STRANGE[what](root / "list.csv")  # it lists nothing, and the folders are what they were
    STRANGE[what](root / "a" / "20.png")
    data = prepare(open_data(root), tmp_path / "cache")
    assert data.record["flaws"]["unreadable"] == 1
    with pytest.raises(UserError, match=rf"found a damaged one in .* \(a/20.png: it is {what}, no file\)"):
        read_images(root, 12, 1, 255.0)


@pytest.mark.parametrize("what", STRANGE)
@pytest.mark.parametrize("suffix", ["png", "nii.gz"])
def test_images_none_of_which_is_a_file(tmp_path: Path, what: str, suffix: str) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for at in range(2):
            STRANGE[what](tmp_path / name / f"{at}.{suffix}")
    assert f"found 4 of 4 that cannot be read in {tmp_path}, the first a/0.{suffix} (it is {what}" in sentence(tmp_path)


@pytest.mark.parametrize("what", STRANGE)
def test_a_table_that_lists_what_is_no_file(tmp_path: Path, what: str) -> None:
    STRANGE[what](tmp_path / "0.png")
    (tmp_path / "list.csv").write_text("image,label\n0.png,a\n")
    assert f"the first looked for at {tmp_path}/0.png, which is {what}; write" in sentence(tmp_path / "list.csv")


def test_folders_and_links_called_as_tables_are(tmp_path: Path) -> None:
    root = classes(tmp_path / "set")
    (root / "list.csv").mkdir()
    (root / "gone.csv").symlink_to("nowhere.csv")
    (root / "round.csv").symlink_to("round.csv")
    assert open_data(root).truth.names == ("a", "b")
    assert "class folders with images was wanted, found no file in" in sentence(root / "list.csv")
    for name in ("gone.csv", "round.csv"):
        assert sentence(root / name).endswith(f"found nothing at {root / name}; check the path")
    assert sentence(root, labels=root / "list.csv").endswith(
        "found a folder at {}; check --labels".format(root / "list.csv")
    )


LONG = "x" * 300


def test_names_that_are_too_long(tmp_path: Path) -> None:
    root = classes(tmp_path)
    for data in (LONG, f"{LONG}.npz", f"{LONG}.csv", root / LONG / "m.csv"):
        assert sentence(data).endswith("; check the path")
    assert sentence(root, labels=f"{LONG}.csv").endswith("; check --labels")
    (root / "list.csv").write_text(
        f"image,label\n{LONG},a\n" + "".join(f"{n}/{at}.png,{n}\n" for n in "ab" for at in range(4))
    )
    source = open_data(root / "list.csv")
    assert source.n == 8
    assert source.notes == ("1 row of the table names an image that is not there and was left out",)
    (root / "list.csv").write_text(f"image,label\n{LONG},a\n")
    assert len(sentence(root / "list.csv")) < 500 + 2 * len(str(root))


def test_names_that_no_file_can_have() -> None:
    assert sentence("a\0b.npz").endswith("check the path")


@pytest.fixture
def barred() -> Iterator[Path]:
    """A folder that nobody may enter, and for the test to be nobody: root may read everything."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    mine = os.geteuid()
    yield root
    os.seteuid(mine)
    for here, folders, _ in os.walk(root):
        for name in folders:
            os.chmod(Path(here, name), 0o755)
    shutil.rmtree(root)


def close(path: Path) -> Path:
    path.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    return path


def test_a_class_folder_that_may_not_be_read_is_not_empty(barred: Path) -> None:
    root = classes(barred / "set", "a", "b", "c")
    close(root / "c")
    assert sentence(root) == (
        f"files and folders that can be read were wanted, found permission denied at {root}/c; change its permissions"
    )


@pytest.mark.parametrize("name", ["set", "set/a/deep", "m.csv", "x.npz", "set/list.csv"])
def test_what_may_not_be_read_is_named(barred: Path, name: str) -> None:
    root = classes(barred / "set")
    classes(root / "a" / "deep")
    for table in ("m.csv", "set/list.csv"):
        (barred / table).write_text("image,label\nset/a/0.png,a\n")
    np.savez(barred / "x.npz", images=noise(4, 12, 12), labels=[0, 1, 0, 1])
    (root / "list.csv").unlink(missing_ok=name != "set/list.csv") if name != "set/list.csv" else None
    close(barred / name)
    data = barred / name if name in ("set", "m.csv", "x.npz") else root
    assert f"found permission denied at {barred / name}" in sentence(data)


def test_what_lies_in_a_folder_that_may_not_be_entered(barred: Path) -> None:
    root = classes(barred / "set")
    np.savez(root / "x.npz", images=noise(4, 12, 12))
    close(root)
    for data in (root / "x.npz", root / "a"):
        assert f"found permission denied at {data}" in sentence(data)


def test_an_image_that_may_not_be_read(barred: Path) -> None:
    root = classes(barred / "set", count=2)
    for name in "ab":
        (root / name / "1.png").chmod(0)
    close(root / "a" / "0.png")
    assert "found 3 of 4 that cannot be read in" in sentence(root)


def test_several_tables_beside_class_folders(tmp_path: Path) -> None:
    root = classes(tmp_path)
    for name in ("one.csv", "two.csv"):
        (root / name).write_text("image;label\na/0.png;x\n")
    assert f"found one.csv, two.csv in {root}; give the one that is meant" in sentence(root)


def test_a_table_beside_official_parts_is_said_not_to_be_used(tmp_path: Path) -> None:
    for part in ("train", "test"):
        classes(tmp_path / part)
    (tmp_path / "manifest.csv").write_text("image,label,patient\ntrain/a/0.png,x,1\n")
    source = open_data(tmp_path)
    assert source.notes == ("manifest.csv beside the folders is not used: give it as the data to use its columns",)


HEAD = "image,label,patient\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + 'a/0.png,"x,1\na/1.png,y,2\na/2.png,y,2\n', "found a quote that is opened and never closed in"),
        (HEAD + 'a/0.png,"x,1\na/1.png",y,2\n', "found a line break in column label of row 2 of|found 4 in row 2 of"),
        (HEAD + 'a/0.png,"x\ny",1\n', "found a line break in column label of row 2 of .*; close the quotes"),
        (HEAD + "\n\na/0.png,x,1\na/1.png,x\n", "found 2 in row 5 of"),
        (f"image,{'z' * 500}\n" + "a/0.png,x\n", "a column label was wanted, found only image, zz"),
        ("image,la\x1bbel\na/0.png,x\n", r"found only image, la\\x1bbel in"),
        ('image,"la\nbel"\na/0.png,x\n', r"found only image, la\\nbel in"),
    ],
)
def test_tables_with_broken_quotes_and_names(tmp_path: Path, text: str, message: str) -> None:
    root = classes(tmp_path)
    (root / "m.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        open_data(root / "m.csv")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_line_break_in_another_column_is_none_of_ours(tmp_path: Path) -> None:
    root = classes(tmp_path)
    rows = "".join(f'{name}/{at}.png,{name},"two\nlines"\n' for name in "ab" for at in range(4))
    (root / "m.csv").write_text("image,label,remark\n" + rows)
    assert open_data(root / "m.csv").truth.names == ("a", "b")


def test_a_row_that_names_two_images_and_an_image_with_two_rows(tmp_path: Path) -> None:
    root = classes(tmp_path / "set")
    labels = tmp_path / "labels.csv"
    labels.write_text("image,label\n0.png,x\na/1.png,y\n")
    assert "one image for each row of" in sentence(root, labels=labels)
    labels.write_text("image,label\na/0.png,x\na/1.png,y\na/0.png,y\n")
    assert "found two different ones for 'a/0.png' in" in sentence(root, labels=labels)
    labels.write_text("image,label\na/0.png,x\na/1.png,y\n./a/0.png,x\nb/0.png,x\nb/1.png,y\n")
    assert (open_data(root, labels=labels).truth.strata >= 0).sum() == 4
