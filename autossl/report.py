"""The report: one self-contained HTML file that answers first, at every stage of a study."""

import logging
import platform
import shlex
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from autossl import leaderboard
from autossl.clock import in_words
from autossl.context import open_context
from autossl.errors import UserError
from autossl.export import PACKAGES
from autossl.folder import Folder, read_json, read_toml, replace_file
from autossl.journal import entries, open_storage
from autossl.scheduler import best
from autossl.space import read_space
from autossl.verdict import BASELINES, NAMES, Verdict, headline, metric_name, verdict

log = logging.getLogger("autossl")

DEFAULTS: dict[str, Any] = {"metric": "auto", "adaptation": "auto", "space": "auto", "modality": "auto", "seed": 0}
CURVES = 6  # candidates whose loss is drawn


class Found(NamedTuple):
    """What lies in a study folder; parts that are not there yet are empty."""

    folder: Folder
    config: dict[str, Any]
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
    def winner(self) -> int | None:
        """The number of the candidate that won, or leads so far."""
        if self.result:
            return int(self.result["candidate"]["number"])
        leader = best(entries(self.trials))
        return None if leader is None else leader.candidate

    def row(self, number: int | None) -> dict[str, Any] | None:
        return next((row for row in self.rows if row["candidate"] == number), None)


def write_report(folder: Folder, path: Path) -> Path:
    """Write the report on the study as it stands to `path` and return that; UserError if its folder is missing."""
    if not path.parent.is_dir():
        raise UserError(f"a folder for the report was wanted, found none at {path.parent}; make it or choose another")
    found = _read(folder)
    loader = jinja2.PackageLoader("autossl")
    page = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page.filters.update(three=_three, duration=in_words)
    text = page.get_template("report.html.j2").render(_facts(found))
    replace_file(path, lambda file: file.write(text.encode()))
    return path


def _read(folder: Folder) -> Found:
    config = read_toml(folder.config) if folder.config.is_file() else {}
    state, clock = read_json(folder.state) or {}, read_json(folder.clock) or {"runs": []}
    study = _study(folder, config)
    trials = study.get_trials(deepcopy=False) if study else []
    rows = leaderboard.rows(study, state.get("baselines")) if study else []
    return Found(folder, config, state, read_json(folder.data) or {}, clock["runs"], trials, rows)


def _study(folder: Folder, config: dict[str, Any]) -> optuna.Study | None:
    """The Optuna study, never made here."""
    if "study_name" not in config or not (config.get("storage") or folder.journal.is_file()):
        return None
    storage = open_storage(folder, config.get("storage"))
    try:
        return optuna.load_study(study_name=config["study_name"], storage=storage)
    except KeyError:
        return None


def _facts(found: Found) -> dict[str, Any]:
    """Everything the template shows."""
    result, plan = found.result, found.state.get("plan") or {}
    tried = {str(t.user_attrs["method"]) for t in found.trials if "method" in t.user_attrs}
    return {
        "verdict": verdict(result, found.config) if result else _so_far(found),
        "metric": metric_name(result["test"]) if result else "",
        "found": found,
        "name": found.data.get("name") or found.config.get("study_name") or found.folder.root.name,
        "names": NAMES,
        "baselines": BASELINES,
        "plan": plan,
        "failures": _failures(found.trials),
        "not_tried": [m for m in plan.get("methods", ()) if m not in tried]
        + [m for m in plan.get("skipped", ()) if m not in tried],
        "candidates": len({e.candidate for e in entries(found.trials)}),
        "spent": _spent(found.trials),
        "seconds": sum(run["seconds"] for run in found.runs),
        "repeat": _repeat(found),
        "versions": _versions(found.folder),
        "figures": _figures(found),
    }


def _so_far(found: Found) -> Verdict:
    """The first line while there is no result."""
    leader = found.row(found.winner)
    stage = found.state.get("stage", "starting")
    if leader is None:
        ended = [t for t in found.trials if t.state == TrialState.FAIL]
        why = f"all {len(ended)} trials so far failed" if ended else "no candidate has been scored"
        return Verdict("none", f"No answer yet: {why} (stage: {stage}).")
    base = (found.state.get("baselines") or {}).get("untrained")
    beside = f", the untrained encoder {base['score']:.3f}" if base else ""
    score = f"{leader['score']:.3f} ± {leader['se'] or 0:.3f}"
    return Verdict(
        "none",
        f"No answer yet: {leader['method']} (candidate {leader['candidate']}) leads with an aligned score of {score}"
        f"{beside}; nothing has been tested (stage: {stage}).",
    )


def _failures(trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Failed segments with their reasons; a double is no failure, it was another worker's."""
    failed = [t.user_attrs for t in trials if t.state == TrialState.FAIL and t.user_attrs.get("reason") != "double"]
    keys = ("candidate", "method", "rung", "reason", "why", "seconds")
    return [{key: attrs.get(key) for key in keys} for attrs in failed if "candidate" in attrs]


def _spent(trials: list[FrozenTrial]) -> dict[str, tuple[int, float]]:
    """Segments and seconds by method, the dearest first."""
    spent: dict[str, tuple[int, float]] = {}
    for entry in entries(trials):
        count, seconds = spent.get(entry.method, (0, 0.0))
        spent[entry.method] = count + 1, seconds + entry.seconds
    return dict(sorted(spent.items(), key=lambda item: -item[1][1]))


def _repeat(found: Found) -> str:
    """The command that repeats this study: its plan without the clock, and every setting that was not a default."""
    config = found.config
    words = ["autossl", "search", str(config.get("data", "DATA"))]
    for key in ("task", "label_column", "patient_column", "max_labels", *DEFAULTS, "weights", "backbone", "image_size"):
        if config.get(key) is not None and config[key] != DEFAULTS.get(key):
            words += [f"--{key.replace('_', '-')}", str(config[key])]
    return shlex.join([*words, "--plan", str(found.folder.root), "--out", "NEW"])


def _versions(folder: Folder) -> dict[str, str]:
    """What the exported encoder was made with, or what runs here."""
    stored = read_json(folder.encoder / "metrics.json") or {}
    here = {name: version(name) for name in PACKAGES}
    return {"python": stored.get("python", platform.python_version()), **stored.get("versions", here)}


def _three(value: Any) -> str:
    """A number for people: three decimals, or three digits where these say nothing."""
    if not isinstance(value, float):
        return "" if value is None else f"{value}"
    return f"{value:.3f}" if value == 0 or 0.01 <= abs(value) < 100 else f"{value:.3g}"


class Drawn(NamedTuple):
    """A figure, or why there is none."""

    svg: str = ""
    png: str = ""
    missing: str = ""


def _figures(found: Found) -> dict[str, Drawn]:
    """Every figure by name; one that cannot be drawn says why and takes nothing else down with it."""
    figures: dict[str, Callable[[Found], Drawn]] = {
        "test": _test_figure,
        "differences": _difference_figure,
        "scores": _score_figure,
        "ladder": _ladder_figure,
        "losses": _loss_figure,
        "labels": _label_figure,
        "map": _map_figure,
        "views": _view_figure,
    }
    return {name: _guarded(name, draw, found) for name, draw in figures.items()}


def _guarded(name: str, draw: Callable[[Found], Drawn], found: Found) -> Drawn:
    try:
        return draw(found)
    except Exception as fault:  # a report on a finished study must not fail because of one figure
        log.info("report: no figure %r (%s: %s)", name, type(fault).__name__, fault)
        return Drawn(missing=f"The figure “{name}” could not be drawn ({type(fault).__name__}).")


def _test_figure(found: Found) -> Drawn:
    from autossl import charts

    if not found.result:
        return Drawn(missing="Nothing has been tested yet.")
    test = found.result["test"]
    metric = test["metric"]
    dots = [
        charts.Interval(NAMES.get(name, name), entrant[metric], *entrant["interval"][metric])
        for name, entrant in test["entrants"].items()
    ]
    return Drawn(charts.intervals("test", dots, f"{metric_name(test)} on the test part, 95 % interval"))


def _difference_figure(found: Found) -> Drawn:
    from autossl import charts

    if not found.result:
        return Drawn()
    test = found.result["test"]
    gaps = {name: gap for name, gap in test["differences"].items() if name in BASELINES}
    dots = [charts.Interval(f"against {NAMES[n]}", g["value"], g["low"], g["high"]) for n, g in gaps.items()]
    label = f"winner minus baseline, {metric_name(test)}; right of 0 the winner is better"
    return Drawn(charts.intervals("differences", dots, label, zero=True)) if dots else Drawn()


def _score_figure(found: Found) -> Drawn:
    from autossl import charts

    if not any(row["paradigm"] != "baseline" for row in found.rows):
        return Drawn(missing="No candidate has been scored yet.")
    return Drawn(charts.scores(found.rows, found.winner))


def _ladder_figure(found: Found) -> Drawn:
    from autossl import charts

    rungs = (found.state.get("plan") or {}).get("rungs", [])
    scored: dict[int, dict[int, Any]] = {}
    for entry in entries(found.trials):
        if entry.state == "scored":
            scored.setdefault(entry.candidate, {})[entry.rung] = entry
    if len(rungs) < 2 or not scored:
        return Drawn(missing="There is one rung only, so nobody climbed." if len(rungs) == 1 else "No rung was reached.")
    curves = [
        (climbed[min(climbed)].paradigm, [climbed[rung].score for rung in sorted(climbed)])
        for climbed in scored.values()
    ]
    return Drawn(charts.ladder(curves, rungs))


def _loss_figure(found: Found) -> Drawn:
    from autossl import charts

    curves = []
    for row in [r for r in found.rows if r["paradigm"] != "baseline"][:CURVES]:
        path = found.folder.artifacts / f"c{row['candidate']:04d}-r{row['rung']}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as stored:
                curve = stored["losses"]
            if len(curve) > 1:
                curves.append((f"{row['method']} (candidate {row['candidate']})", row["paradigm"], curve))
    return Drawn(charts.losses(curves)) if curves else Drawn(missing="No loss curve is stored.")


def _label_figure(found: Found) -> Drawn:
    from autossl import charts

    points = found.result["test"].get("label_curve") if found.result else None
    if not found.result or not points:
        return Drawn(missing="The label curve was not drawn: there was no time, or there are too few labels.")
    test = found.result["test"]
    scratch = test["entrants"].get("supervised", {}).get(test["metric"])
    return Drawn(charts.label_curve(points, NAMES, metric_name(test), scratch))


def _map_figure(found: Found) -> Drawn:
    from autossl import charts

    path = found.folder.artifacts / "test.npz"
    if not path.is_file():
        return Drawn(missing="The embedding map needs the test, which has not been made yet.")
    with np.load(path, allow_pickle=False) as stored:
        return Drawn(charts.embedding_map(stored["winner"], stored["labels"], found.data.get("classes", [])))


def _view_figure(found: Found) -> Drawn:
    from autossl import charts

    row = found.row(found.winner)
    if row is None:
        return Drawn(missing="There is no candidate whose views could be shown.")
    if found.result:
        chosen = found.result["candidate"]["hyperparameters"]
    else:
        chosen = {**read_space(found.config["space"])[row["method"]].fixed, **row["hyperparameters"]}
    return Drawn(png=charts.view_sheet(open_context(found.folder, "cpu"), row["method"], chosen))
