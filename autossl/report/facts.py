"""What lies in a study folder, read at any stage and never made: the report's facts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial

from autossl.record.config import StudyConfig, read_config
from autossl.record.folder import Folder, read_json
from autossl.record.journal import entries, read_study
from autossl.report import leaderboard
from autossl.targets import Target, target_class
from autossl.trials.scheduler import best


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
    def target(self) -> type[Target]:
        """What the study's encoder is for."""
        return target_class(self.config.task)

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
