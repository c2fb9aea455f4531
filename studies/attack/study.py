"""One small finished study, for all campaigns that read one, and what is read from a study."""

import json
import shutil
from pathlib import Path
from typing import Any

from studies.attack.acts import SPACE, ended, good_npz, said, start, textures

FULL = (
    "--time-limit",
    "none",
    "--max-candidates",
    "2",
    "--backbone",
    "test_resnet",
    "--adaptation",
    "frozen",
    "--weights",
    "none",
    "--quiet",
)


class _Study:
    """Where the finished study is; `prepare` makes it."""

    folder = Path()


STUDY = _Study()


def prepare(work: Path) -> None:
    """Make the study, once for all calls with this work folder."""
    here = work / "study" / "here"
    STUDY.folder = here / "out"
    if (STUDY.folder / "report.html").exists():
        return
    shutil.rmtree(here.parent, ignore_errors=True)
    here.mkdir(parents=True)
    data(here)
    code = ended(start(here, "search", "x.npz", *FULL, "--space", "s.toml", "--out", "out"), 400)
    assert code == 0, f"the study that other cases need ended with {code}: {said(here)}"


def data(here: Path, n: int = 120) -> None:
    """x.npz of three classes, and s.toml."""
    images, labels = textures(n, classes=3)
    good_npz(here, images=images, labels=labels)
    (here / "s.toml").write_text(SPACE)


def scored(out: Path) -> dict[str, float]:
    """Scores by trial; nothing where there is no study yet."""
    from autossl.study import Study

    if not (out / "study.journal").exists():
        return {}
    trials = Study(out).optuna.get_trials(deepcopy=False)
    return {str(trial.number): trial.value for trial in trials if trial.value is not None}


def result(out: Path) -> dict[str, Any]:
    """What was measured at the end."""
    found: dict[str, Any] = json.loads((out / "state.json").read_text()).get("result") or {}
    return found
