"""The command line as a user types it: exit codes, one sentence for bad input, quick help."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from PIL import Image

from autossl.cli.commands import main
from autossl.errors import UserError
from autossl.record.config import read_config, write_config
from autossl.record.folder import Folder, only_process
from autossl.run import begin
from autossl.trials.space import read_space
from tests.toy_config import TOY


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def refused(*arguments: str) -> str:
    """The one sentence of a command that ends with exit code 2."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.output.strip().splitlines()
    assert len(lines) == 1, result.output
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """60 noise images of two classes."""
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.npz"
    np.savez(path, images=rng.integers(0, 256, (60, 16, 16), dtype=np.uint8), labels=np.arange(60) % 2)
    return path


def test_help_answers_at_once_and_without_torch() -> None:
    code = (
        "import sys; from autossl.cli.commands import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    times, output = [], ""
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - started)
        output = done.stdout
    assert "search" in output
    assert min(times) < 1.0  # 0.2 s on an idle machine; this one may be busy


@pytest.mark.parametrize("command", ["search", "resume", "status", "leaderboard", "stop", "inspect", "doctor", "train"])
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_a_missing_path_names_itself(tmp_path: Path) -> None:
    assert "nowhere.npz" in refused("search", str(tmp_path / "nowhere.npz"), "--out", str(tmp_path / "o"))
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--task", "juggling"], "juggling"),
        (["--methods", "simclr,magic"], "magic"),
        (["--time-limit", "10s"], "10s"),
        (["--time-limit", "soon"], "soon"),
        (["--time-limit", "none"], "--max-candidates"),
        (["--backbone", "resnet10000"], "resnet10000"),
        (["--metric", "luck"], "luck"),
        (["--adaptation", "prayer"], "prayer"),
        (["--device", "abacus"], "abacus"),
        (["--modality", "smell"], "smell"),
        (["--image-size", "4"], "4"),
        (["--image-size", "foo"], "foo"),
        (["--image-size", "28.5"], "28.5"),
        (["--seed", "-1"], "-1"),
        (["--seed", "4294967296"], "4294967296"),
        (["--storage", "postgresql://me:secret@there/db"], "not served yet"),
        (["--label-column", "grade"], "grade"),
        (["--weights", "nowhere.pt"], "nowhere.pt"),
        (["--max-labels", "3"], "max-labels 3"),
        (["--workers", "many"], "many"),
        (["--max-labels", "0"], "max-labels"),
        (["--space", "nowhere.toml"], "nowhere.toml"),
        (["--plan", "nowhere"], "nowhere"),
    ],
)
def test_bad_options_end_in_one_sentence_and_leave_nothing(
    images: Path, tmp_path: Path, options: list[str], word: str
) -> None:
    out = tmp_path / "deep" / "out"
    sentence = refused("search", str(images), "--out", str(out), *options)
    assert word in sentence
    assert "secret" not in sentence
    assert not out.parent.exists()


def test_a_folder_with_other_things_is_not_written_to(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter.txt").write_text("mine")
    assert "thesis" in refused("search", str(images), "--out", str(out))
    assert [p.name for p in out.iterdir()] == ["chapter.txt"]


def test_a_folder_that_only_looks_like_a_study_is_not_written_to(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    (out / "cache").mkdir(parents=True)
    (out / "cache" / "images.npy").write_text("mine")
    (out / "config.toml").write_text("of = 'another program'")
    assert "thesis" in refused("search", str(images), "--out", str(out))
    assert "found no config.toml of one" in refused("resume", str(out))
    assert sorted(p.name for p in out.rglob("*")) == ["cache", "config.toml", "images.npy"]
    assert (out / "cache" / "images.npy").read_text() == "mine"


@pytest.fixture
def truncated(tmp_path: Path) -> Path:
    """60 PNGs with a whole header and half of their pixels."""
    rng = np.random.default_rng(0)
    for k in range(60):
        path = tmp_path / "set" / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:200])
    return tmp_path / "set"


def test_what_is_refused_while_it_is_decoded_leaves_nothing(
    truncated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "empty").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for out in ("deep/new", "empty"):
        assert "that cannot be read" in refused("search", str(truncated), "--out", out, "--quiet")
        assert [p.name for p in Path().rglob("*")] == ["empty"]


def test_what_others_put_into_a_folder_stays_when_its_study_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run")

    def refuse(*files: Path) -> None:
        with begin.taken(folder, TOY):
            for file in files:
                file.touch()
            raise UserError("no")

    with pytest.raises(UserError, match="no"):
        refuse(folder.stop, folder.journal)
    assert not folder.root.exists()
    with pytest.raises(UserError, match="no"):
        refuse(folder.root / "notes.txt")
    assert [p.name for p in folder.root.iterdir()] == ["notes.txt"]


def test_too_few_labels_for_the_classes_leave_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "many.npz", images=images, labels=np.arange(100) % 10)
    options = ["--max-labels", "17", "--out", str(tmp_path / "o"), "--quiet"]
    assert "--max-labels 20" in refused("search", str(tmp_path / "many.npz"), *options)
    assert not (tmp_path / "o").exists()


def test_places_that_cannot_be_written_to(images: Path, tmp_path: Path) -> None:
    assert "Not a directory" in refused("search", str(images), "--out", str(images / "x"))
    assert "Not a directory" in refused("embed", "encoder", str(images), "-o", str(images / "z.npy"))
    assert "No such file" in refused("embed", "encoder", str(images), "-o", str(tmp_path / "nodir" / "z"))
    assert "found a folder" in refused("inspect", str(images), "--views", "--out", str(tmp_path))
    write_config(tmp_path / "config.toml", TOY)
    assert "found a folder" in refused("report", str(tmp_path), "-o", str(tmp_path))


def test_a_study_in_use_keeps_its_time_limit(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    write_config(folder.config, TOY)
    with only_process(folder):
        assert "is being worked on" in refused("resume", str(tmp_path), "--time-limit", "+1h")
    assert read_config(folder.config) == TOY


def test_a_study_killed_while_it_decodes_is_a_study_and_goes_on(tmp_path: Path) -> None:
    rng, data, out = np.random.default_rng(0), tmp_path / "set", tmp_path / "run"
    for k in range(40):
        path = data / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (300, 300), dtype=np.uint8)).save(path)
        for copy in range(15):
            (path.parent / f"{k}.{copy}.png").hardlink_to(path)
    command = [sys.executable, "-c", "from autossl.cli.commands import main; main()", "search", str(data), "--quiet"]
    process = subprocess.Popen([*command, "--out", str(out)])
    while not list(out.glob("cache/.images.npy.*.part")):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    folder = Folder(out)
    assert not folder.has_begun
    status = run("status", str(out))
    assert status.exit_code == 0, status.output
    assert "starting" in status.output
    for path in data.glob("*/*.*.png"):
        path.unlink()
    data.rename(tmp_path / "away")
    assert f"found nothing at {data}" in refused("resume", str(out), "--quiet")
    (tmp_path / "away").rename(data)
    config = read_config(folder.config)
    begin.decode(begin.look_again(folder, config), folder, config, lambda done, n: None)
    assert folder.has_begun


def test_weights_of_another_network_are_refused_before_there_is_a_study(images: Path, tmp_path: Path) -> None:
    torch.save({"head": torch.zeros(3)}, tmp_path / "other.pt")
    for name, word in (("other.pt", "of another network"), ("noise.npz", "does not")):
        assert word in refused("search", str(images), "--out", str(tmp_path / "o"), "--weights", str(tmp_path / name))
        assert not (tmp_path / "o").exists()


def test_one_class_only(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    np.savez(
        path, images=np.random.default_rng(0).integers(0, 256, (40, 16, 16), dtype=np.uint8), labels=np.zeros(40, int)
    )
    assert "class" in refused("search", str(path), "--out", str(tmp_path / "o"))


def test_inspect_refuses_an_unknown_task_and_counts_unreadable_files(tmp_path: Path) -> None:
    assert "'seg'" in refused("inspect", "sample:cells", "--task", "seg")
    for k in range(40):
        path = tmp_path / "set" / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20), k, dtype=np.uint8)).save(path)
    (tmp_path / "set" / "a" / "0.png").write_bytes(b"")
    assert re.search(r"unreadable +1 by their headers", run("inspect", str(tmp_path / "set")).output)


def test_not_a_study(tmp_path: Path) -> None:
    for command in ("status", "leaderboard", "resume", "stop", "report"):
        assert "study folder" in refused(command, str(tmp_path))


def test_inspect_says_what_is_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("left", "right"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for k in range(6):
            Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8)).save(tmp_path / "set" / name / f"{k}.png")
    result = run("inspect", str(tmp_path / "set"))
    assert result.exit_code == 2, result.output  # 12 images are too few for a search
    assert "12, 1 channel(s)" in result.output
    assert "left 6" in result.output
    told = run("inspect", str(tmp_path / "set"), "--json")
    assert told.exit_code == 2
    found = json.loads(told.stdout)
    assert found["starts"] is False
    assert "labelled images were wanted, found 12" in found["why"]
    assert {"name": "patients", "found": "no patient ids"} in found["rows"]


def test_list_methods_as_json() -> None:
    rows = json.loads(run("list", "methods", "--json").output)
    assert {"simclr", "vicreg", "byol", "rotation", "jigsaw", "cnn_mae", "genesis", "denoising", "hybrid"} <= {
        r["name"] for r in rows
    }
    assert len({row["paradigm"] for row in rows}) == 4
    assert all(row["priors"] and row["paper"] for row in rows)
    assert all({"dims", "needs", "passes"} <= set(row) and row["passes"] > 0 for row in rows)


def test_list_methods_as_a_table() -> None:
    head, *lines = run("list", "methods").output.splitlines()
    assert head.split() == ["name", "paradigm", "dims", "passes", "needs"]
    at = next(place for place, line in enumerate(lines) if line.startswith("rotation "))
    assert lines[at][head.index("needs") :] == "orientation"
    assert lines[at + 1].startswith("    tell by which right angle an image was turned; Gidaris et al. 2018")
    assert "1803.07728" in lines[at + 2]
    assert max(map(len, lines)) <= 100


def test_lists_of_what_matches() -> None:
    lines = run("list", "backbones").output.splitlines()
    assert lines[1].split()[0] == "resnet10t"
    assert "default for images, on a CPU" in lines[2]
    assert "more networks of timm: autossl list backbones PATTERN" in lines[-1]
    found = run("list", "backbones", "vit_tiny*16_224").output
    assert re.search(r"vit_tiny_patch16_224 +5\.5 M +2", found)
    assert [row["name"] for row in json.loads(run("list", "methods", "moco", "--json").output)] == ["moco", "mocov3"]
    assert "radiographs" in run("list", "modalities", "xray").output
    assert "nonsense" in refused("list", "methods", "nonsense")


def test_shells_complete_values() -> None:
    def offered(option: str, begun: str) -> list[str]:
        shell = ShellComplete(main, {}, "autossl", "_AUTOSSL_COMPLETE")
        return [item.value for item in shell.get_completions(["search", "x.npz", option], begun)]

    assert offered("--modality", "m") == ["microscopy", "mr"]
    assert offered("--methods", "simclr,vic") == ["simclr,vicreg", "simclr,vicregl"]
    assert offered("--task", "re") == ["regression", "reconstruction", "retrieval"]
    assert offered("--metric", "map") == ["map_at_10"]
    assert "packaged:lite0" in offered("--weights", "packaged")
    assert "[auto|frozen|finetune]" in run("search", "--help").output


@pytest.mark.parametrize("what", ["backbones", "spaces", "modalities", "targets", "weights"])
def test_lists(what: str) -> None:
    assert json.loads(run("list", what, "--json").output)


@pytest.mark.parametrize(("command", "goes_on"), [("inspect", False), ("doctor", False), ("search", True)])
def test_ctrl_c_promises_what_is_true(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, goes_on: bool
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autossl.data.open_data", interrupt)
    monkeypatch.setattr("autossl.run.opening.open_data", interrupt)
    monkeypatch.setattr("autossl.cli.doctor.check_machine", interrupt)
    result = run(command, *([] if command == "doctor" else [str(images)]))
    assert result.exit_code == 130
    assert ("goes on" in result.output) == goes_on
    assert "checkpoint" not in result.output


def test_every_listed_space_can_be_asked_for() -> None:
    names = [row["name"] for row in json.loads(run("list", "spaces", "--json").output)]
    assert names == ["default"]
    assert all(read_space(name) == read_space("auto") for name in names)


def test_doctor_names_versions() -> None:
    assert "torch" in run("doctor").output
