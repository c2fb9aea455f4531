"""Commands that train nothing, and refusals that need no image, answer without torch: it takes seconds to import."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.layout import ROOT
from tests.tables import FILES
from tests.test_earlier_study import FIXTURE

CODE = """
import json, sys
from click.testing import CliRunner
from autossl.cli.commands import main
from autossl import Study
found = []
for arguments in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, arguments)
    found.append([done.exit_code, done.output])
study = Study(sys.argv[2])
print(study.verdict, study.best, study.remarks, len(study.leaderboard()), len(study._repr_html_()))
heavy = sorted({"torch", "timm", "torchvision", "monai", "matplotlib", "sklearn"} & set(sys.modules))
print(json.dumps({"found": found, "heavy": heavy}))
"""


@pytest.mark.parametrize("file", FILES)
def test_tables_say_what_the_classes_say(file: str) -> None:
    assert (ROOT / "search_spaces" / file).read_text() == FILES[file](), "run python -m tests.tables"


def test_what_needs_no_torch_does_not_import_it(tmp_path: Path) -> None:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path / "run", filter="data")
    run = str(tmp_path / "run")
    fine = [
        *(["list", what] for what in ("methods", "modalities", "targets", "spaces", "weights")),
        ["status", run], ["leaderboard", run], ["leaderboard", run, "--json"], ["compare", run, run],
        ["compare", run, "--json"],
    ]  # fmt: skip
    wrong = [
        ["search", "nowhere.npz"], ["resume", "nowhere"], ["status", "nowhere"], ["inspect", "nowhere.npz"],
        *(["search", run, *words.split()] for words in (
            "--task juggling", "--methods magic", "--metric luck", "--device abacus", "--modality smell",
            "--time-limit 10s", "--plan nowhere", "--task none --adaptation finetune", "--task regression",
        )),
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(fine + wrong), run], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert [code for code, _ in told["found"]] == [0] * len(fine) + [2] * len(wrong), told["found"]
    assert all(text.startswith("error: ") for _, text in told["found"][len(fine) :])
    assert told["heavy"] == []
