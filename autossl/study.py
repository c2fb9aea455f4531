"""A study as its user holds it: leaderboard, best candidate, encoder, embeddings, export, report."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from autossl.errors import UserError
from autossl.errors.keywords import one_of, path_of
from autossl.model.load import load as load_model
from autossl.model.model import Model
from autossl.model.onnx import write_onnx
from autossl.record.clock import Clock
from autossl.record.config import read_config
from autossl.record.entries import Entry
from autossl.record.folder import Folder, check_folder, check_output, existing, machine_faults, read_json
from autossl.record.journal import entries, read_study
from autossl.report import leaderboard
from autossl.report.page import write_report
from autossl.report.verdict import noisy, remarks
from autossl.run.jobs import no_model
from autossl.targets import target_class
from autossl.trials.scheduler import CUT_OFF, best


@dataclass(frozen=True)
class Candidate:
    """A method with its hyperparameters and what it reached."""

    number: int
    method: str
    paradigm: str
    rung: int
    score: float
    se: float
    hyperparameters: dict[str, Any]


class Study:
    """The study in a folder. Nothing here trains; `autossl.search` and `autossl.resume` do.

    Raises UserError if there is no study at `path`.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder: Folder = existing(path)
        self.config = read_config(self.folder.config)
        self._opened: optuna.Study | None = None

    def __repr__(self) -> str:
        return f"Study({str(self.folder.root)!r})"

    def _read(self) -> optuna.Study | None:
        """The Optuna study, or None while there is none; it is never made here."""
        if self._opened is None:
            self._opened = read_study(self.folder, self.config.study_name)
        return self._opened

    def _trials(self) -> list[FrozenTrial]:
        found = self._read()
        return [] if found is None else found.get_trials(deepcopy=False)

    @property
    def optuna(self) -> optuna.Study:
        """The Optuna study; one trial is one segment of one candidate. UserError while there is none."""
        found = self._read()
        if found is None:
            raise UserError(
                f"a study that has begun was wanted, found no trials yet in {self.folder.root}; wait a moment"
            )
        return found

    @property
    def remarks(self) -> list[str]:
        """What has to be said beside the first line of the report; empty while the study is not finished."""
        return remarks(self.result) if self.result else []

    @property
    def result(self) -> dict[str, Any] | None:
        """Everything measured at the end, or None while the study is not finished."""
        found: dict[str, Any] | None = self._state().get("result")
        return found

    def _state(self) -> dict[str, Any]:
        return read_json(self.folder.state) or {}

    def leaderboard(self) -> list[dict[str, Any]]:
        """One row per candidate at its highest rung, best first by (rung, score); baselines come last."""
        return leaderboard.rows(self._trials(), self._state(), self.config.task)

    @property
    def caution(self) -> str:
        """What the order of the leaderboard is worth where labels are few; else empty."""
        parts = (read_json(self.folder.data) or {}).get("parts", {})
        scored = {row["candidate"] for row in self.leaderboard() if row["paradigm"] != "baseline"}
        return noisy(parts["probe"]["labels"], len(scored)) if parts else ""

    @property
    def scored(self) -> str:
        """What the scores of the leaderboard are."""
        return target_class(self.config.task).scored

    @property
    def best(self) -> Candidate | None:
        """The candidate that won, or leads so far by (rung, score); None before the first score."""
        rows = {row["candidate"]: row for row in self.leaderboard() if row["paradigm"] != "baseline"}
        leader = best(entries(self._trials()))
        if leader is None:
            return None
        number = self.result["candidate"]["number"] if self.result else leader.candidate
        row = rows[number]
        keys = ("method", "paradigm", "rung", "score", "se", "hyperparameters")
        return Candidate(number, **{key: row[key] for key in keys})

    def status(self) -> dict[str, Any]:
        """Where the study stands: time used, trials by state, the leader."""
        trials = entries(self._trials())
        lead = self.best
        used = sum(run["seconds"] for run in (read_json(self.folder.clock) or {"runs": []})["runs"])
        return {
            "study": self.config.study_name,
            "stage": self._state().get("stage", "starting"),
            "finished": bool(self._state().get("finished")),
            "seconds_used": round(used, 1),
            "seconds_limit": self.config.time_limit,
            "candidates": len({e.candidate for e in trials}),
            "segments": _segments(trials),
            "shortcuts": leaderboard.shortcuts(self.leaderboard()),
            "best": None
            if lead is None
            else {
                "candidate": lead.number,
                "method": lead.method,
                "rung": lead.rung,
                "score": lead.score,
                "se": lead.se,
            },
        }

    def encoder(self) -> Model:
        """The best self-supervised encoder, ready to embed. UserError before there is one."""
        return load_model(self.folder.encoder)

    def embed(self, data: Any) -> NDArray[np.float32]:
        """Embeddings (n, d) of images in any supported form: `Model.embed` of the best encoder."""
        return self.encoder().embed(data)

    def predict(self, data: Any) -> dict[str, list[Any]]:
        """A table of the adapted model's answers, see `Model.predict`. UserError before there is one."""
        if not self.folder.model.is_dir():
            raise no_model(self.folder)
        return load_model(self.folder.model).predict(data)

    def export(self, path: str | Path, candidate: str = "best") -> Path:
        """Copy an encoder to `path`: "best" (self-supervised), "model" (adapted, with head) or "supervised".

        A path that ends in .onnx is written as one ONNX file.

        Raises UserError if the study has none, or if `path` is there already.
        """
        places = {
            "best": self.folder.encoder,
            "model": self.folder.model,
            "supervised": self.folder.root / "baselines" / "supervised",
        }
        one_of(*places).take("--candidate", candidate)
        source, target = places[candidate], Path(path_of(path, "the path to export to"))
        if not source.is_dir():
            raise self._why_none(candidate)
        if target.suffix == ".onnx":
            check_output(target, "the path to export to", ".onnx")
            return write_onnx(load_model(source), target)
        check_folder(target, "the path to export to")
        with machine_faults():
            shutil.copytree(source, target, dirs_exist_ok=True)
        return target

    def _why_none(self, candidate: str) -> UserError:
        """Why an encoder that is asked for is not there, and what to do."""
        root, state = self.folder.root, self._state()
        if self.result and "test" not in self.result:
            return no_model(self.folder)
        if state.get("finished"):
            return UserError(
                f"the network trained on the labels alone was wanted, found that it did not fit into the time of "
                f"{root}; autossl resume {root} --time-limit +1h trains it"
            )
        return UserError(
            f"a finished study was wanted, found {root} unfinished (stage: {state.get('stage', 'starting')}), without "
            f"the {'encoder' if candidate == 'best' else 'network'} that --candidate {candidate} names; wait for its "
            f"end, end it early by autossl stop {root}, or go on with it by autossl resume {root}"
        )

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report, one self-contained HTML file, and return where it is."""
        output = self.folder.report if path is None else Path(path_of(path, "--output"))
        check_output(output, "--output", ".html", ".htm")
        return write_report(self.folder, output)

    def clock(self) -> Clock:
        """The study's clock."""
        return Clock(self.folder)


def _segments(found: list[Entry]) -> dict[str, int]:
    """Segments by what became of them; "cut off": by a stop, the end of the time or a crash."""
    cut = sum(e.state == "failed" and e.reason in CUT_OFF for e in found)
    counts = {state: sum(e.state == state for e in found) for state in ("scored", "running", "waiting", "failed")}
    doubles = sum(e.state == "failed" and e.reason == "double" for e in found)
    return {**counts, "failed": counts["failed"] - cut - doubles, "cut off": cut}
