"""The parts that keep what is read from doing anything: networks, names, links, pictures, the dashboard."""

import html
import json
import logging
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

import matplotlib as mpl
import numpy as np
import optuna
import pytest
import torch
from PIL import EpsImagePlugin, Image

import autossl
from autossl.data import read_images
from autossl.data.readers import images
from autossl.errors import UserError
from autossl.errors.printable import OneLine, markdown, one_line
from autossl.model import export
from autossl.model.card import Preprocessing, card
from autossl.model.model import Model
from autossl.nn.encoder import Encoder
from autossl.nn.networks import create
from autossl.nn.volume_networks import VOLUMES
from autossl.record.folder import Folder, existing, write_toml
from autossl.record.journal import open_storage, open_study
from autossl.record.links import refuse_links
from autossl.report import charts
from autossl.report.dashboard import open_server
from autossl.trials.context import open_context
from autossl.trials.segments import parent_file, segment_file
from tests.hostile import trapped
from tests.test_report import STATE, begin

NAMES = [
    "hf-hub:timm/resnet18", "local-dir:/tmp/x", "resnet18.hf-hub:x/y", "timm/resnet18", "../resnet18", "resnet18\n", "",
    5, None, ["resnet18"],
]  # fmt: skip
KEYWORDS: list[dict[str, Any]] = [
    {"checkpoint_path": "x.pth"}, {"pretrained": True}, {"pretrained_cfg": {"url": "http://x"}}, {"cache_dir": "/"},
    {"pretrained_cfg_overlay": {"file": "x"}}, {"features_only": True}, {"scriptable": True}, {"num_classes": 5},
    {"kernel_file": "x"}, {"img_size": "http://x"}, {"img_size": 1e9}, {"patch_size": [[16]]}, {"patch_size": []},
    {"output_stride": None}, {"img_size": -1}, {"img_size": 1 << 40}, {"blocks_down": [1] * 100}, {"embed_dim": {}},
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_only_known_networks_are_made(name: Any) -> None:
    with pytest.raises(UserError, match=r"timm has no .* in some/config\.json; similar names"):
        create(name, 1, 32, {}, where="some/config.json")


@pytest.mark.parametrize("backbone", ["test_resnet", "resnet10_3d"])
@pytest.mark.parametrize("keywords", KEYWORDS)
def test_a_network_is_told_nothing_but_sizes(backbone: str, keywords: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"{next(iter(keywords))}.* in some/config\.json") as refused:
        Encoder(backbone, 1, 32, model_args=keywords, where="some/config.json")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("given", [{"channels": "3"}, {"image_size": None}, {"image_size": 1 << 20}, {"upsample": 1.5}])
def test_numbers_of_a_network_are_whole(given: dict[str, Any]) -> None:
    values: dict[str, Any] = {"backbone": "test_resnet", "channels": 1, "image_size": 32, "model_args": {}, **given}
    with pytest.raises(UserError, match=f"found {next(iter(given))} = "):
        create(**values)
    with pytest.raises(UserError, match="keywords of a network were wanted"):
        create("test_resnet", 1, 32, ["pretrained"])  # type: ignore[arg-type]


def test_every_keyword_that_is_written_is_allowed() -> None:
    written = [{"img_size": 32, "patch_size": 4}, {"output_stride": 16}, *(f for n in VOLUMES.values() for f in n.fits)]
    for keywords in written:
        with pytest.raises(UserError, match="timm has no"):  # after the keywords have passed
            create("no_such_network", 1, 32, keywords)


def test_every_exported_network_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Encoder("test_vit", 1, 20, model_args={"img_size": 20, "patch_size": 5}).eval()
    export.write(Model(encoder, Preprocessing(20, 255.0, (0.5,), (0.3,))), tmp_path / "e", {})
    x = torch.randn(2, 1, 20, 20)
    with torch.no_grad():
        assert torch.allclose(autossl.load(tmp_path / "e")(x), encoder(x), atol=1e-5)


HARMFUL = [
    "<script>alert(1)</script>", "![x](http://evil.example/x.png)", "[x](javascript:1)", "<img src=x>", "&lt;b&gt;",
    "http://evil.example", "www.evil.example", "me@evil.example", "# big", "- x", "---", "1. one", "~~~", "`x`", "$x$",
    "a|b", "*x*", "__x__", "a\n\n# b", "\x1b[31m", "\u202eabc", "\ud800", "\\[x](y)",
]  # fmt: skip


@pytest.mark.parametrize("text", HARMFUL)
def test_a_card_shows_names_letter_by_letter(text: str) -> None:
    written = markdown(text)
    assert written.encode()
    assert written.isprintable()
    shown = html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", written))  # as CommonMark reads it
    assert shown == one_line(text)
    bare = re.sub(r"\\.|&[#\w]+;", "", written)
    assert not re.search(r"[<>\[\]`*|~$@]|://|^#|^[-+=] *$|^[-+] ", bare)


def test_names_of_classes_and_data_do_nothing_in_a_card() -> None:
    torch.manual_seed(0)
    encoder = Encoder("test_resnet", 1, 16)
    name = "![x](http://evil.example/x)<script>\x1b[2J"
    facts = {"data": {"name": name, "notes": [name]}, "candidate": {name: {name: name}}, "start": {"weights": name}}
    text = card(encoder, Preprocessing(16, 255.0, (0.5,), (0.3,)), facts, (name, "plain_class", "b c"))
    for part in ("<script>", "![", "\x1b", "://evil"):
        assert part not in text
    assert "plain_class, b c" in text


@pytest.mark.parametrize("text", ["\x1b[31m", "a\nb", "\x9b2J", "\u202e", "\x07", "\ud83d", "\u2028", "\r"])
def test_one_line_is_printable(text: str) -> None:
    assert one_line(text).isprintable()
    assert one_line("good é 良性 ± 0.1") == "good é 良性 ± 0.1"


def test_logs_hold_a_line_for_each_message(tmp_path: Path) -> None:
    log, handler = logging.getLogger("a test of security"), logging.FileHandler(tmp_path / "log")
    handler.addFilter(OneLine())
    log.addHandler(handler)
    log.warning("candidate %s", "\x1b[2J\n12:00:00 forged")
    handler.close()
    assert (tmp_path / "log").read_text() == "candidate \\x1b[2J\\n12:00:00 forged\n"


def test_a_study_with_links_is_refused_and_the_lock_of_optuna_is_none(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run")
    folder.make()
    write_toml(folder.config, {"study_name": "toy"}, "a test")
    (folder.root / "study.journal.lock").symlink_to(folder.journal)
    assert existing(folder.root) == folder
    (tmp_path / "alias").symlink_to(folder.root)
    existing(tmp_path / "alias")
    (folder.cache / "images.npy").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"without links was wanted, found cache/images\.npy"):
        existing(folder.root)
    (folder.cache / "study.journal.lock").symlink_to(tmp_path)
    (folder.cache / "images.npy").unlink()
    with pytest.raises(UserError, match=r"cache/study\.journal\.lock"):
        refuse_links(folder.root)


@pytest.mark.parametrize("name", ["../../evil.pt", "/etc/passwd", "checkpoints/../../evil.pt", "..", "", None, 5])
def test_a_checkpoint_is_one_of_the_study(tmp_path: Path, name: Any) -> None:
    context = open_context(begin(tmp_path / "run", STATE))
    found = parent_file(context, {"checkpoint": name})
    assert found.parent.resolve() == context.folder.checkpoints.resolve() or not found.is_file()
    with pytest.raises(ValueError, match="invalid literal"):
        segment_file(context, {"candidate": 0, "rung": "/../../x"}, "pt")


def test_a_figure_asks_no_other_program() -> None:
    with mpl.rc_context({"text.usetex": True}):  # as a matplotlibrc in the current folder may say
        assert "<svg" in charts.intervals("test", [charts.Interval("a", 0.5, 0.4, 0.6)], "score")


def test_numba_takes_no_settings_from_the_current_folder(tmp_path: Path) -> None:
    trapped(Folder(tmp_path), tmp_path / "marker")
    code = "import autossl.proxies, numba, yaml; print(repr(numba.config.CACHE_DIR), yaml.__name__)"
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "'' yaml"


def test_postscript_is_no_image_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        place = tmp_path / "set" / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 20), 40 * number, np.uint8)).save(place)
    picture = tmp_path / "set" / "9.png"
    Image.new("L", (20, 20)).save(picture, "EPS")
    program, marker = tmp_path / "gs", tmp_path / "marker"  # what Pillow takes for Ghostscript
    program.write_text(f"#!/bin/sh\ntouch {marker}\n")
    program.chmod(0o755)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", str(program))
    assert images.look(picture) is None
    with pytest.raises(images.Unreadable):
        images.decode(picture)
    with pytest.raises(UserError):
        read_images(str(tmp_path / "set"), image_size=20, channels=1, scale=255.0)
    assert not marker.exists()


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[WSGIServer]:
    """A dashboard that lets visitors change the study."""
    folder = Folder(tmp_path)
    write_toml(folder.config, {"study_name": "toy"}, "toy")
    open_study(folder, "toy")
    found = open_server(folder, 0, read_only=False)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def asked(server: WSGIServer, method: str, headers: dict[str, str], path: str = "/api/studies") -> tuple[int, Any]:
    """Status and headers of the answer."""
    body = None if method == "GET" else json.dumps({"study_name": "other", "directions": ["minimize"]}).encode()
    address = f"http://127.0.0.1:{server.server_port}{path}"
    sent = {"Content-Type": "application/json", **headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, sent, method=method)) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as fault:
        with fault:
            return fault.code, fault.headers


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_only_pages_of_the_dashboard_change_a_study(changing: WSGIServer, tmp_path: Path) -> None:
    own = f"127.0.0.1:{changing.server_port}"
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        for origin in ("http://evil.example", "null", f"https://{own}", "http://localhost:1", f"http://{own}.evil", ""):
            headers = {"Origin": origin} if origin else {}
            assert asked(changing, method, headers)[0] == 403, (method, origin)
    hosts = [
        "127.0.0.1:evil.com",
        "evil.example",
        "127.0.0.1.evil",
        "localhost:",
        "127.0.0.1:80:80",
        "[::1]",
        "localhost@x",
    ]
    for host in hosts:
        assert asked(changing, "GET", {"Host": host})[0] == 403, host
        assert asked(changing, "POST", {"Host": host, "Origin": f"http://{host}"})[0] == 403, host
    assert [s.study_name for s in _studies(tmp_path)] == ["toy"]
    assert asked(changing, "GET", {"Host": "localhost:8080"})[0] == 200
    status, headers = asked(changing, "GET", {}, "/dashboard")
    assert (status, headers["X-Frame-Options"]) == (200, "DENY")
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert asked(changing, "POST", {"Origin": f"http://{own}"})[0] == 201
    assert len(_studies(tmp_path)) == 2


def _studies(root: Path) -> list[Any]:
    return list(optuna.get_all_study_summaries(open_storage(Folder(root))))
