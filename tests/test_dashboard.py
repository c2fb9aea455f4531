"""The dashboard: it shows the study's trials, refuses changes, and listens on this machine only."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import pytest

from autossl.errors import UserError
from autossl.record.config import write_config
from autossl.record.folder import Folder
from autossl.record.journal import open_study
from autossl.report.dashboard import open_server
from tests.toy_config import TOY

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:optuna_dashboard", "ignore::ResourceWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    write_config(folder.config, TOY)
    study = open_study(folder, "toy")
    trial = study.ask()
    trial.suggest_float("simclr.lr", 1e-4, 1e-2, log=True)
    study.tell(trial, 0.75)
    return folder


@pytest.fixture
def running(folder: Folder) -> Iterator[WSGIServer]:
    found = open_server(folder, 0, read_only=True)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def test_it_shows_trials_and_refuses_changes(running: WSGIServer, folder: Folder) -> None:
    address = f"http://127.0.0.1:{running.server_port}"
    with urllib.request.urlopen(f"{address}/api/studies") as answer:
        studies = json.load(answer)["study_summaries"]
    assert [s["study_name"] for s in studies] == ["toy"]
    number = studies[0]["study_id"]
    with urllib.request.urlopen(f"{address}/api/studies/{number}?after=0") as answer:
        assert [t["values"] for t in json.load(answer)["trials"]] == [[0.75]]
    request = urllib.request.Request(f"{address}/api/studies/{number}", method="DELETE")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 405
    refused.value.close()
    assert len(open_study(folder, "toy").trials) == 1


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80"])
def test_it_answers_to_no_other_name(running: WSGIServer, host: str) -> None:
    address = f"http://127.0.0.1:{running.server_port}/api/studies"
    with urllib.request.urlopen(urllib.request.Request(address, headers={"Host": "localhost:1"})) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(address, headers={"Host": host}))
    assert refused.value.code == 403
    refused.value.close()


def test_it_listens_on_this_machine_only(running: WSGIServer) -> None:
    assert running.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_one_sentence(running: WSGIServer, folder: Folder) -> None:
    with pytest.raises(UserError, match=str(running.server_port)):
        open_server(folder, running.server_port, read_only=True)
