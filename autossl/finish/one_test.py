"""The one test of a study: each use of the test part is counted before it happens, each result kept after it."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autossl.finish import pictures
from autossl.finish.baselines import Effort
from autossl.finish.curve import STEP, label_curve
from autossl.finish.steps import Steps
from autossl.finish.tested import Entrant, Outcome
from autossl.proxies import Outcomes
from autossl.record.folder import change_json, replace_file
from autossl.record.stored import Damaged
from autossl.targets.readouts import made_again
from autossl.trials.context import PROBE, SELECTION, TEST, Context


def count_test(context: Context, part: str = "") -> None:
    """Write down that the test part is about to be used; a `part` of the one test counts where it is begun anew."""

    def counted(state: Mapping[str, Any]) -> dict[str, Any]:
        tests, begun = int(state.get("tests") or 0), list(state.get("testing") or ())
        if not part:
            return {"tests": tests + 1}
        return {"tests": tests + (not begun or part in begun), "testing": list(dict.fromkeys([*begun, part]))}

    change_json(context.folder.state, counted)


class Test:
    """The test of a study, and what it has given so far, also in an earlier run; the first entrant is the winner.

    A part of it that was cut off is done again, and counted again.
    """

    __test__ = False  # for pytest

    def __init__(self, context: Context) -> None:
        self.context, self.path = context, context.folder.checkpoints / "test.npz"
        self.outcome = Outcome()
        if not context.state("testing"):
            self.path.unlink(missing_ok=True)  # of a test before the study was extended
        elif self.path.is_file():
            self._read()
        rows, labelled = context.rows(TEST, labelled=True), context.rows(PROBE, SELECTION, labelled=True)
        self.outcome.facts |= {
            "images": len(rows),
            "labels": len(labelled),
            "metric": context.target.metric,
            "metrics": list(context.judged.reported),
        }

    def add(self, entrant: Entrant) -> None:
        """Test a network, unless that is done."""
        outcome = self.outcome
        if entrant.name in outcome.outcomes:
            return
        count_test(self.context, entrant.name)
        outcome.add(self.context, entrant)
        if entrant.name == "winner":
            self._keep(outcome.seen["winner"].pooled)
        self._write()

    def curve(self, entrants: list[Entrant], supervised: Effort | None, steps: Steps) -> None:
        """Draw the curve over numbers of labels for those that were fitted and the baseline, unless that is done."""
        if "label_curve" in self.outcome.facts:
            return
        count_test(self.context, STEP)
        self._embed([entrant for entrant in entrants if entrant.frozen])
        self.outcome.facts["label_curve"] = label_curve(steps, self.outcome, supervised)
        self._write()

    def _embed(self, entrants: list[Entrant]) -> None:
        """See again what was tested in an earlier run, and keep the entrants in their order."""
        context, outcome = self.context, self.outcome
        rows, fit_rows = context.rows(TEST, labelled=True), context.rows(PROBE, SELECTION, labelled=True)
        for entrant in entrants:
            if entrant.name not in outcome.fitted:
                outcome.seen[entrant.name] = context.see(entrant.encoder, rows)
                outcome.fitted[entrant.name] = entrant.fitted or context.see(entrant.encoder, fit_rows)
        outcome.fitted = {entrant.name: outcome.fitted[entrant.name] for entrant in entrants}

    def _write(self) -> None:
        """Keep what was tested; heads are kept by name and shape, for they are needed again."""
        outcome = self.outcome
        arrays: dict[str, Any] = {}
        made = {name: head.made for name, head in outcome.heads.items()}
        for name, tested in outcome.outcomes.items():
            arrays |= {f"{name} {part}": found for part, found in tested.arrays().items()}
        for name, head in outcome.heads.items():
            arrays |= {f"{name} weights {part}": values.cpu().numpy() for part, values in head.state_dict().items()}
        told = np.array(json.dumps({"facts": outcome.facts, "heads": made}))
        replace_file(self.path, lambda file: np.savez(file, allow_pickle=False, told=told, **arrays))

    def _read(self) -> None:
        try:
            self._take()
        except Exception as fault:  # of NumPy, zipfile and json, on a file that is cut or changed
            raise Damaged(self.path, type(fault).__name__) from None

    def _take(self) -> None:
        with np.load(self.path, allow_pickle=False) as stored:
            arrays = dict(stored)
        if "told" not in arrays:  # of a test that an earlier version began: it is done again
            return
        told = json.loads(str(arrays.pop("told")))
        self.outcome.facts = told["facts"]
        for name in self.outcome.facts["entrants"]:
            own = {key.removeprefix(f"{name} "): found for key, found in arrays.items() if key.startswith(f"{name} ")}
            self.outcome.outcomes[name] = Outcomes.loaded(own)
            if name in told["heads"]:
                made, weights = told["heads"][name], [key for key in own if key.startswith("weights ")]
                state = {key.removeprefix("weights "): torch.from_numpy(own[key]) for key in weights}
                self.outcome.heads[name] = made_again(made, state)

    def told(self, name: str) -> None:
        """Keep what the chosen network answered, its differences to the others, and its metrics by column."""
        self.outcome.chosen(self.context, name)
        pictures.keep(self.context, self.outcome, name)
        target, outcomes = self.context.judged, self.outcome.outcomes[name]
        path = self.context.folder.artifacts / "answers.npz"
        arrays = {"entrant": np.array(name), **outcomes.arrays()}
        replace_file(path, lambda file: np.savez(file, allow_pickle=False, **arrays))
        if len(target.parts) > 1:
            self.outcome.facts["columns"] = [
                {
                    "name": part,
                    "known": len(np.unique(own.owner)),
                    **{metric: _known(own.value(metric)) for metric in target.reported},
                }
                for part, own in ((part, outcomes.column(at)) for at, part in enumerate(target.parts))
            ]

    def _keep(self, embedding: NDArray[np.float32]) -> None:
        """Keep the winner's test embedding for the report's map."""
        labels = self.context.data.truth.strata[self.context.rows(TEST, labelled=True)]
        path = self.context.folder.artifacts / "test.npz"
        replace_file(path, lambda file: np.savez(file, winner=embedding.astype(np.float16), labels=labels))


def _known(value: float) -> float | None:
    """A value, or None where it is not defined, which JSON cannot say."""
    return round(value, 5) if math.isfinite(value) else None
