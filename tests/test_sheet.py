"""The sheet of views: what it shows, what it never shows, what it refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from PIL import Image

from autossl.cli.commands import main
from autossl.cli.view_sheet import COPIES, SHOWN, STRENGTHS, write_sheet
from autossl.data import Source, open_data
from autossl.data.dataset import Pixels
from autossl.data.parts import OFFICIAL_TEST
from autossl.data.readers.images import Unreadable
from autossl.data.truth import Classes, Masks
from autossl.errors import UserError
from tests.mask_toys import discs

SECRET = "Doe1949"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """30 colour images of two classes, named after their patients, the last ten in an official test part."""
    rng = np.random.default_rng(0)
    lines = ["image,label,patient,split"]
    for k in range(30):
        name = f"{SECRET}-{k}.png"
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(tmp_path / name)
        lines.append(f"{name},{'benign' if k % 3 else 'malign'},{SECRET}-{k // 2},{'test' if k >= 20 else 'train'}")
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join(lines))
    return path


def figure_of(source: Source, modality: str, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure that would have been written."""
    caught: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: caught.append(figure))
    write_sheet(source, modality, Path("unused.png"))
    return caught[0]


def test_the_command_writes_a_png_that_names_no_patient(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    result = CliRunner().invoke(
        main, ["inspect", str(manifest), "--views", "--modality", "histology", "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert ["views", str(out)] in [line.split() for line in result.output.splitlines()]
    with Image.open(out) as image:
        assert image.format == "PNG"
        assert min(image.size) > 500
        assert not image.info.keys() - {"dpi"}
    assert SECRET.encode() not in out.read_bytes()


def test_without_the_option_nothing_is_drawn(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert CliRunner().invoke(main, ["inspect", str(manifest), "--out", str(out)]).exit_code == 0
    assert not out.exists()


def test_words_are_classes_strengths_and_operations(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = figure_of(open_data(str(manifest)), "histology", monkeypatch)
    words = [text.get_text() for text in figure.findobj(Text) if text.get_text()]
    assert not any(SECRET in text for text in words)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names.count("benign") == names.count("malign") == SHOWN / 2
    assert {"images", *(f"jitter {strength:g}" for strength in STRENGTHS)} <= set(words)
    told = " ".join(words)
    assert "stain 0.4" in told
    assert "at any jitter: hflip, vflip, turns, rotate 180;" in told
    shown = figure.findobj(AxesImage)
    assert len(shown) == SHOWN * (1 + COPIES * len(STRENGTHS))


def test_pixels_are_those_of_the_images(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_data(str(manifest))
    axes = figure_of(source, "histology", monkeypatch).axes[0]
    known = {source.read(row).tobytes() for row in range(20)}  # never one of the official test part
    brightest = max(source.read(row).max() for row in range(20))
    for image in axes.images:
        shown = np.asarray(image.get_array()) * brightest
        assert np.rint(shown).astype(np.uint8).tobytes() in known


def test_official_test_images_are_not_read_and_damaged_ones_left_out(manifest: Path, tmp_path: Path) -> None:
    source = open_data(str(manifest))
    asked: list[int] = []

    def read(row: int) -> Pixels:
        asked.append(row)
        assert source.split[row] != OFFICIAL_TEST
        if row % 2:
            raise Unreadable("torn")
        return source.read(row)

    write_sheet(replace(source, read=read), "auto", tmp_path / "views.png")
    assert len({row for row in asked if row % 2 == 0}) == SHOWN

    def torn(row: int) -> Pixels:
        raise Unreadable("torn")

    with pytest.raises(UserError, match="readable images were wanted, found none in"):
        write_sheet(replace(source, read=torn), "auto", tmp_path / "views.png")


def test_deep_grey_images_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 4000, (4, 24, 24), dtype=np.uint16)
    np.savez(tmp_path / "deep.npz", images=images, labels=np.array([0, 1, 0, 1]))
    source = open_data(str(tmp_path / "deep.npz"))
    figure = figure_of(replace(source, truth=Classes.nothing(4)), "ct", monkeypatch)
    assert len(figure.axes[0].images) == 4
    shown = figure.axes[0].images[0].get_array()
    assert shown is not None
    assert shown.max() == pytest.approx(1, abs=0.01)


def test_volumes_are_drawn_by_their_middle_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_data("sample:volumes")
    axes = figure_of(source, "mr", monkeypatch).axes
    assert [len(ax.images) for ax in axes] == [SHOWN, *[SHOWN * COPIES] * len(STRENGTHS)]
    middle = [source.read(row)[12, :, :, 0] for row in range(source.n)]
    brightest = max(float(np.asarray(image.get_array()).max()) for image in axes[0].images)
    assert brightest <= 1
    for image in axes[0].images:
        shown = np.asarray(image.get_array())[:, :, 0]
        likeness = max(np.corrcoef(shown.ravel(), m.ravel())[0, 1] for m in middle)
        assert likeness == pytest.approx(1, abs=1e-5)


def test_volumes_of_unequal_sides_are_resized_as_a_search_does(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).integers(0, 255, (24, 30, 40, 20), np.uint8)
    np.savez(tmp_path / "set.npz", images=volumes, labels=np.arange(24) % 2)
    done = CliRunner().invoke(
        main, ["inspect", str(tmp_path / "set.npz"), "--views", "--modality", "mr", "--out", str(tmp_path / "v.png")]
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "v.png").is_file()


def test_what_cannot_be_done_is_said_in_a_sentence(manifest: Path, tmp_path: Path) -> None:
    for options, word in ((["--modality", "smell"], "smell"), (["--out", str(tmp_path / "no" / "x.png")], "--out")):
        result = CliRunner().invoke(main, ["inspect", str(manifest), "--views", *options])
        assert result.exit_code == 2, result.output
        assert word in result.output.strip().splitlines()[-1]


def test_masks_are_outlined_and_what_does_not_fit_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, drawn = discs(SHOWN)
    labels = [mask[:20] if row == 2 else mask for row, mask in enumerate(drawn)]
    figure = figure_of(open_data(images, form=Masks, labels=labels), "microscopy", monkeypatch)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[-1] == "masks"
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert sum("does not fit" in name for name in names) == 1
    plain, marked = ([np.asarray(image.get_array()) for image in figure.axes[at].images] for at in (0, len(titles) - 1))
    grey = [bool(np.ptp(each, axis=2).max() < 0.01) for each in marked]  # outlines have colours
    assert all(np.ptp(each, axis=2).max() < 0.01 for each in plain)
    assert grey == ["does not fit" in name for name in names]
