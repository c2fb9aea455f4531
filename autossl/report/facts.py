"""What lies in a study folder, read at any stage and never made: the report's facts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial

from autossl.errors import UserError
from autossl.record.config import StudyConfig, read_config
from autossl.record.entries import Entry
from autossl.record.folder import Folder, read_json
from autossl.record.journal import entries, read_study
from autossl.record.offered import Task, task
from autossl.report import leaderboard
from autossl.trials.standing import CUT_OFF, best


class Found(NamedTuple):
    """What lies in a study folder; parts that are not there yet are empty."""

    folder: Folder
    config: StudyConfig
    state: dict[str, Any]
    data: dict[str, Any]
    runs: list[dict[str, Any]]
    trials: list[FrozenTrial]
    rows: list[dict[str, Any]]

    @property
    def result(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.state.get("result")
        return found

    @property
    def target(self) -> Task:
        """What the study's encoder is for."""
        return task(self.config.task)

    @property
    def measured(self) -> str:
        """The name of the study's metric."""
        metric = self.config.metric
        return metric if metric in self.target.metrics else next(iter(self.target.metrics), "")

    @property
    def headings(self) -> Mapping[str, str]:
        """The proxies that the leaderboard shows, and what they are called there."""
        return self.target.headings

    @property
    def winner(self) -> int | None:
        """The number of the candidate that won, or leads so far."""
        if self.result:
            return int(self.result["candidate"]["number"])
        leader = best(entries(self.trials))
        return None if leader is None else leader.candidate

    @property
    def caution(self) -> str:
        """What the order of the leaderboard is worth where labels are few; else empty."""
        scored = {row["candidate"] for row in self.rows if row["paradigm"] != "baseline"}
        parts = self.data.get("parts")
        return leaderboard.noisy(parts["probe"]["labels"], len(scored)) if parts and scored else ""

    def status(self) -> dict[str, Any]:
        """Where the study stands: time used, trials by state, the leader."""
        trials, lead = entries(self.trials), self.row(self.winner)
        return {
            "study": self.config.study_name,
            "stage": self.state.get("stage", "starting"),
            "finished": bool(self.state.get("finished")),
            "seconds_used": round(sum(run["seconds"] for run in self.runs), 1),
            "seconds_limit": self.config.time_limit,
            "candidates": len({e.candidate for e in trials}),
            "segments": _segments(trials),
            "shortcuts": leaderboard.shortcuts(self.rows),
            "best": lead and {key: lead[key] for key in ("candidate", "method", "rung", "score", "se")},
        }

    def row(self, number: int | None) -> dict[str, Any] | None:
        return next((row for row in self.rows if row["candidate"] == number), None)


def read(folder: Folder) -> Found:
    """The study in this folder as it stands; it may be at work."""
    study = read_study(folder, read_config(folder.config).study_name)
    return seen(folder, study.get_trials(deepcopy=False) if study else [])


def seen(folder: Folder, trials: list[FrozenTrial]) -> Found:
    """The study in this folder, whose trials have been read already."""
    config = read_config(folder.config)
    state, clock = read_json(folder.state) or {}, read_json(folder.clock) or {"runs": []}
    rows = leaderboard.rows(trials, state, config.task)
    return Found(folder, config, state, read_json(folder.data) or {}, clock["runs"], trials, rows)


def no_model(folder: Folder) -> UserError:
    """Why a study has no adapted model, and what to do."""
    asked = read_config(folder.config).task
    if not task(asked).metrics:
        return UserError(
            f"a study with labels was wanted, found one with --task {asked} in {folder.root}, which has an "
            "encoder and no model; autossl embed asks that, and a search with labels makes a model"
        )
    return UserError(f"a finished study was wanted, but {folder.root} has no model yet; see autossl status")


def _segments(found: list[Entry]) -> dict[str, int]:
    """Segments by what became of them; "cut off": by a stop, the end of the time or a crash."""
    cut = sum(e.state == "failed" and e.reason in CUT_OFF for e in found)
    counts = {state: sum(e.state == state for e in found) for state in ("scored", "running", "waiting", "failed")}
    doubles = sum(e.state == "failed" and e.reason == "double" for e in found)
    return {**counts, "failed": counts["failed"] - cut - doubles, "cut off": cut}
