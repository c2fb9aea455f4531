"""A study as its user holds it: answer, leaderboard, best candidate, encoder, embeddings, export, report."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from numpy.typing import NDArray

from autossl.errors import UserError
from autossl.errors.keywords import one_of, path_of
from autossl.record.clock import Clock
from autossl.record.config import read_config
from autossl.record.folder import Folder, check_folder, check_output, existing, machine_faults, read_json
from autossl.record.journal import read_study
from autossl.report import notebook
from autossl.report.facts import Found, no_model, read
from autossl.report.notebook import Leaderboard
from autossl.report.verdict import Verdict, answer, remarks

if TYPE_CHECKING:
    from autossl.model.model import Model

# What needs torch is imported where it is called: all that a finished study tells is told without it.


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

    def __repr__(self) -> str:
        return f"Study({str(self.folder.root)!r})"

    def _repr_html_(self) -> str:
        """Its answer, the scores behind it, and where the report is, as a notebook shows them."""
        return notebook.study(self._found())

    def _found(self) -> Found:
        """What lies in the folder now; it may be at work."""
        return read(self.folder)

    @property
    def optuna(self) -> optuna.Study:
        """The Optuna study; one trial is one segment of one candidate. UserError while there is none."""
        found = read_study(self.folder, self.config.study_name)
        if found is None:
            raise UserError(
                f"a study that has begun was wanted, found no trials yet in {self.folder.root}; wait a moment"
            )
        return found

    @property
    def verdict(self) -> Verdict:
        """The answer: did self-supervision help (`kind`: helped, hurt, unclear, or none so far), in words (`first`)."""
        return answer(self._found())

    @property
    def remarks(self) -> list[str]:
        """What has to be said beside the first line of the report; empty while the study is not finished."""
        result = self.result
        return remarks(result) if result else []

    @property
    def result(self) -> dict[str, Any] | None:
        """Everything measured at the end, or None while the study is not finished."""
        found: dict[str, Any] | None = self._state().get("result")
        return found

    def _state(self) -> dict[str, Any]:
        return read_json(self.folder.state) or {}

    def leaderboard(self) -> Leaderboard:
        """One row per candidate at its highest rung, best first by (rung, score); baselines come last.

        A list of dicts, which notebooks show as a table; `to_pandas()` makes a data frame of it.
        """
        found = self._found()
        return Leaderboard(found.rows, found.target.scored, found.caution)

    @property
    def caution(self) -> str:
        """What the order of the leaderboard is worth where labels are few; else empty."""
        return self._found().caution

    @property
    def scored(self) -> str:
        """What the scores of the leaderboard are."""
        return self._found().target.scored

    @property
    def best(self) -> Candidate | None:
        """The candidate that won, or leads so far by (rung, score); None before the first score."""
        found = self._found()
        row = found.row(found.winner)
        if row is None:
            return None
        keys = ("method", "paradigm", "rung", "score", "se", "hyperparameters")
        return Candidate(row["candidate"], **{key: row[key] for key in keys})

    def status(self) -> dict[str, Any]:
        """Where the study stands: time used, trials by state, the leader."""
        return self._found().status()

    def encoder(self) -> "Model":
        """The best self-supervised encoder, ready to embed. UserError before there is one."""
        return _loaded(self.folder.encoder)

    def embed(self, data: Any) -> NDArray[np.float32]:
        """Embeddings (n, d) of images in any supported form: `Model.embed` of the best encoder."""
        return self.encoder().embed(data)

    def predict(self, data: Any) -> dict[str, list[Any]]:
        """A table of the adapted model's answers, see `Model.predict`. UserError before there is one."""
        if not self.folder.model.is_dir():
            raise no_model(self.folder)
        return _loaded(self.folder.model).predict(data)

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
            from autossl.model.onnx import write_onnx

            return write_onnx(_loaded(source), target)
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

    def report(self, path: str | Path | None = None, no_images: bool = False) -> Path:
        """Write the report, one self-contained HTML file, and return where it is.

        With `no_images` it holds no pixels of images, so that it may be passed on where these may not.
        """
        from autossl.report.page import write_report

        output = self.folder.report if path is None else Path(path_of(path, "--output"))
        check_output(output, "--output", ".html", ".htm")
        return write_report(self.folder, output, no_images)

    def clock(self) -> Clock:
        """The study's clock."""
        return Clock(self.folder)


def _loaded(path: Path) -> "Model":
    from autossl.model.load import load

    return load(path)
