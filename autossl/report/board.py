"""The storage of a study as Optuna's dashboard is to show it: named, with notes, figures and pictures, never written.

Everything here follows from what lies in the study folder when it is asked for, so studies at work and old ones show
it too, and the journal holds nothing but the search.
"""

import copy
import json
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from autossl.record.folder import Folder
from autossl.record.journal import entries
from autossl.report import attached, notes, plots
from autossl.report.facts import seen
from autossl.trials.standing import best

PIECE = 2045  # letters of a text that the dashboard takes in one attribute
INNER = ("lease", "worker", "parent", "checkpoint", "retry", "kills", "killed", "headway", "prior_index", "ranked")
FIRST = ("candidate", "method", "paradigm", "rung", "score", "se", "reason", "why", "images", "seconds")


class Board(JournalStorage):
    """Optuna's storage of one study, read by the dashboard alone.

    Its study has a metric with a name, a note and figures; its trials have notes and files, and are complete where they
    were scored: that a candidate was trained no further is said by its rung and its note.
    """

    def __init__(self, backend: BaseJournalBackend, folder: Folder) -> None:
        super().__init__(backend)
        self._folder = folder

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        """The trials as they are to be seen."""
        trials = [_seen(trial) for trial in super().get_all_trials(study_id, deepcopy=False)]
        return [trial for trial in trials if states is None or trial.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """One trial as it is to be seen."""
        return _seen(super().get_trial(trial_id))

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """The leader by rung, then score, as the leaderboard has it."""
        trials = self.get_all_trials(study_id)
        leader = best(entries(trials))
        return super().get_best_trial(study_id) if leader is None else trials[leader.number]

    def get_all_studies(self) -> list[FrozenStudy]:
        """The studies with their notes and figures."""
        return [
            FrozenStudy(
                study.study_name, StudyDirection.MAXIMIZE, _ordered(study.user_attrs),
                self.get_study_system_attrs(study._study_id), study._study_id,
            )
            for study in super().get_all_studies()
        ]  # fmt: skip

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """What the dashboard reads names, notes and figures from."""
        trials = super().get_all_trials(study_id, deepcopy=False)
        found = seen(self._folder, trials)
        own: dict[str, Any] = {"study:metric_names": [found.target.scored], **_note("", notes.of_study(found))}
        known = entries(trials)
        for entry in known:
            own |= _note(f"{trials[entry.number]._trial_id}:", notes.of_trial(entry, known))
        for name, figure in plots.figures(found).items():
            own |= _pieces(f"dashboard:plot_data:{name}:", json.dumps(figure))
        return {**super().get_study_system_attrs(study_id), **own}


def _seen(trial: FrozenTrial) -> FrozenTrial:
    """A copy: complete where it was scored, its facts in order and without those of the engine, its files listed."""
    if "candidate" not in trial.user_attrs:
        return trial
    shown = copy.copy(trial)
    if trial.state == TrialState.PRUNED and "score" in trial.user_attrs:
        shown.state, shown.values = TrialState.COMPLETE, [float(trial.user_attrs["score"])]
    facts = {name: trial.user_attrs[name] for name in FIRST if name in trial.user_attrs}
    shown.user_attrs = facts | {k: v for k, v in trial.user_attrs.items() if k not in {*FIRST, *INNER}}
    shown.system_attrs = trial.system_attrs | {
        f"artifacts:{key}": json.dumps(meta) for key, meta in attached.listed(trial).items()
    }
    return shown


def _ordered(attrs: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(attrs.items()))


def _note(key: str, text: str) -> dict[str, Any]:
    return {f"dashboard:{key}note_ver": 1, **_pieces(f"dashboard:{key}note_str:", text)}


def _pieces(key: str, text: str) -> dict[str, str]:
    return {f"{key}{at}": text[at * PIECE : (at + 1) * PIECE] for at in range(-(-len(text) // PIECE))}
