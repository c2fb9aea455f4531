"""Files beside each trial in Optuna's dashboard: settings, loss, views, confusion; made when somebody looks at them."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial

from autossl.proxies import Outcomes
from autossl.record.config import read_config
from autossl.record.entries import METHOD
from autossl.record.folder import Folder, read_json
from autossl.record.journal import open_storage
from autossl.record.offered import task
from autossl.targets.base import ASKED
from autossl.trials.context import open_context
from autossl.trials.space import read_space

XMLNS = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
FILES = (  # at most five; what cannot be made is not found
    ("settings.json", "application/json"),
    ("loss.csv", "text/csv"),
    ("views.png", "image/png"),
    ("confusion.svg", "image/svg+xml"),
)


def listed(trial: FrozenTrial) -> dict[str, dict[str, Any]]:
    """The files of a scored trial by id, as the dashboard lists them."""
    if "score" not in trial.user_attrs:
        return {}
    return {
        (key := f"{trial.number:08x}-{place}"): {
            "artifact_id": key, "filename": name, "mimetype": kind, "encoding": None
        }
        for place, (name, kind) in enumerate(FILES)
    }  # fmt: skip


class Attached:
    """Optuna's store of artifacts, made of what lies in the study folder; nothing is written."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The content of a file; ArtifactNotFound where it cannot be made."""
        number, _, place = artifact_id.partition("-")
        makers: tuple[Callable[[FrozenTrial], bytes], ...] = (_settings, self._loss, self._views, self._confusion)
        try:
            return io.BytesIO(makers[int(place)](self._trial(int(number, 16))))
        except Exception as fault:  # a file that is damaged or gone costs its own picture only
            raise ArtifactNotFound(f"{artifact_id}: {type(fault).__name__}") from None

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Nothing is written: files follow from the study."""
        raise PermissionError(artifact_id)

    def remove(self, artifact_id: str) -> None:
        """Nothing is removed."""
        raise PermissionError(artifact_id)

    def _trial(self, number: int) -> FrozenTrial:
        storage = open_storage(self.folder)
        study = storage.get_study_id_from_name(read_config(self.folder.config).study_name)
        return storage.get_all_trials(study, deepcopy=False)[number]

    def _stored(self, trial: FrozenTrial) -> dict[str, Any]:
        attrs = trial.user_attrs
        path = self.folder.artifacts / f"c{attrs['candidate']:04d}-r{attrs['rung']}.npz"
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)

    def _loss(self, trial: FrozenTrial) -> bytes:
        rows = [f"{images:.0f},{loss:.6g}" for images, loss in self._stored(trial)["losses"]]
        return "\n".join(["images,loss", *rows, ""]).encode()

    def _views(self, trial: FrozenTrial) -> bytes:
        from autossl.report.charts import contact_sheet  # here, because a dashboard starts before anybody looks at it
        from autossl.report.shown import shown

        config, told = read_config(self.folder.config), _settings_of(trial)
        if config.no_images:
            raise PermissionError("--no-images")
        method = told.pop(METHOD)
        fixed = read_space(config.space)[method].fixed
        sheet = contact_sheet(shown(open_context(self.folder, "cpu"), method, {**fixed, **told}))
        return base64.b64decode(sheet.partition(",")[2])

    def _confusion(self, trial: FrozenTrial) -> bytes:
        from autossl.report.clinical import Reading
        from autossl.report.diagnosis import confusion

        kind, data = task(read_config(self.folder.config).task).figure, read_json(self.folder.data) or {}
        outcomes = Outcomes.loaded(self._stored(trial))
        if kind not in ASKED or kind == "findings":
            raise KeyError(kind)
        reading = Reading.of(kind, outcomes, tuple(data["classes"]), np.arange(outcomes.n))
        return confusion(reading).replace("<svg", f"<svg {XMLNS}", 1).encode()


def _settings_of(trial: FrozenTrial) -> dict[str, Any]:
    """The method of a trial and its settings by their own names."""
    return {name.partition(".")[2] or name: value for name, value in trial.params.items()}


def _settings(trial: FrozenTrial) -> bytes:
    return json.dumps(_settings_of(trial), indent=1).encode()
