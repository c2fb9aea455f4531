"""The public surface: what `import autossl` offers, and what the wheel puts where."""

import inspect
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import autossl
from autossl.errors import UserError
from autossl.record.clock import in_words, seconds


def test_public_names_are_these() -> None:
    assert sorted(autossl.__all__) == ["Embedder", "Study", "UserError", "load", "resume", "search"]
    for name in autossl.__all__:
        assert getattr(autossl, name) is not None
    with pytest.raises(AttributeError):
        _ = autossl.nothing


def test_every_keyword_of_a_search_is_explained() -> None:
    text = autossl.search.__doc__ or ""
    assert [name for name in inspect.signature(autossl.search).parameters if f"`{name}`" not in text] == []
    assert autossl.__version__ == version("autossl-imaging")


def test_nothing_called_proxies_reaches_site_packages(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=root,
        check=True,
        capture_output=True,
    )
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"autossl"}
    assert "autossl/proxies/knn.py" in names
    assert "autossl/search_spaces/default.toml" in names


def test_the_folder_proxies_refuses_to_be_imported_by_itself() -> None:
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", "import proxies"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "autossl.proxies" in done.stderr


@pytest.mark.parametrize(
    ("text", "value"),
    [("90s", 90), ("45m", 2700), ("1h30m", 5400), ("8h", 28800), ("120", 120), (5, 5), ("none", None)],
)
def test_time_limits(text: str | int, value: float | None) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "h", "ten", "-5", 0, "inf", "5x"])
def test_bad_time_limits(text: str | int) -> None:
    with pytest.raises(UserError, match="time limit"):
        seconds(text)


def test_time_in_words() -> None:
    assert [in_words(v) for v in (42, 185, 4800)] == ["42 s", "3 min 5 s", "1 h 20 min"]


def test_no_room_hides_a_public_name() -> None:
    rooms = {path.parent.name for path in Path(autossl.__file__).parent.glob("*/__init__.py")}
    assert not rooms & set(autossl.__all__)
