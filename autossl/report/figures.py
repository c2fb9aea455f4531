"""The figures of the report, from what lies in a study folder; a missing part costs its own figure only."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from autossl.data.truth import SHARE
from autossl.model.entrants import BASELINES, ENTRANTS, NAMES, measure
from autossl.proxies import METRICS, Outcomes
from autossl.record.journal import entries
from autossl.report import answers, charts, detections, diagnosis, label_curve, overlays, restorations, tolerated
from autossl.report.clinical import Reading
from autossl.report.facts import Found
from autossl.report.shown import shown
from autossl.report.verdict import chosen, metric_name
from autossl.targets.base import ASKED, PICTURED
from autossl.trials.context import TEST, open_context
from autossl.trials.space import read_space
from autossl.trials.tolerance import Tolerance

log = logging.getLogger("autossl")

LEFT_OUT = "Left out: this report holds no pixels of images (--no-images)."
CURVES = 6  # candidates whose loss is drawn


class Drawn(NamedTuple):
    """A figure, or why there is none."""

    svg: str = ""
    png: str = ""
    missing: str = ""
    words: str = ""  # what is said beside it


def figures(found: Found, reading: Reading | None = None) -> dict[str, Drawn]:
    """Every figure by name; one that cannot be drawn says why and takes nothing else down with it.

    `reading`: the answers of the chosen network, where they are of yes and no.
    """
    known: dict[str, Callable[[Found], Drawn]] = {
        "test": _test_figure,
        "differences": _difference_figure,
        "scores": _score_figure,
        "ladder": _ladder_figure,
        "losses": _loss_figure,
        "answers": _answer_figure,
        "curves": _curve_figure,
        "labels": _label_figure,
        "map": _map_figure,
        "tolerated": _tolerance_figure,
        "views": _view_figure,
    }
    if reading is not None:
        known |= {
            "confusion": lambda _: Drawn(diagnosis.confusion(reading) if reading.exclusive else ""),
            "roc": lambda _: Drawn(diagnosis.roc(reading)),
            "calibration": lambda _: Drawn(diagnosis.calibration(reading)),
            "errors": lambda found: _error_figure(found, reading),
        }
    return {name: _guarded(name, draw, found) for name, draw in known.items()}


def _guarded(name: str, draw: Callable[[Found], Drawn], found: Found) -> Drawn:
    try:
        return draw(found)
    except Exception as fault:  # a report on a finished study must not fail because of one figure
        log.info("report: no figure %r (%s: %s)", name, type(fault).__name__, fault)
        return Drawn(missing=f"The figure “{name}” could not be drawn ({type(fault).__name__}).")


def _test_figure(study: Found) -> Drawn:
    if not study.result or "test" not in study.result:
        return Drawn(missing="Nothing has been tested yet.")
    test = study.result["test"]
    if few := test.get("few"):
        return Drawn(missing=f"No intervals are drawn: {few}.")
    metric = test["metric"]
    dots = [
        charts.Interval(str(NAMES.get(name, name)), found[metric], *_ends(found, metric), colour=_colour(name))
        for name, found in test["entrants"].items()
    ]
    return Drawn(charts.intervals("test", dots, f"{metric_name(test)}, 95 % interval"))


def _ends(found: dict[str, Any], metric: str) -> tuple[float, float]:
    low, high = found["interval"][metric]
    return low, high


def _colour(name: str) -> str:
    return "contrastive" if name in ENTRANTS and ENTRANTS[name].role == "winner" else "baseline"


def _difference_figure(found: Found) -> Drawn:
    if not found.result or "test" not in found.result:
        return Drawn()
    test = found.result["test"]
    if "few" in test:
        return Drawn()
    judged, gaps = chosen(test)
    ours = ENTRANTS[judged].role == "winner"
    rows = {"": gaps, "the frozen winner ": test["differences"] if judged != "winner" else {}}
    dots = [
        charts.Interval(
            f"{who}against {NAMES.get(name, name)}", gap["value"], gap["low"], gap["high"], _colour(judged), bool(who)
        )
        for who, each in rows.items()
        for name, gap in each.items()
        if name != judged and (name in BASELINES or not (ours or who))
    ]
    label = f"difference in {metric_name(test)}, 95 % interval"
    return Drawn(charts.intervals("differences", dots, label, zero=True)) if dots else Drawn()


def _score_figure(found: Found) -> Drawn:
    if not found.target.ranks:
        return Drawn(missing="No scores are drawn: without labels none ranks.")
    if not any(row["paradigm"] != "baseline" for row in found.rows):
        return Drawn(missing="No candidate has been scored yet.")
    return Drawn(charts.scores(found.rows, found.winner))


def _ladder_figure(found: Found) -> Drawn:
    rungs = (found.state.get("plan") or {}).get("rungs", [])
    scored: dict[int, dict[int, Any]] = {}
    for entry in entries(found.trials):
        if entry.state == "scored":
            scored.setdefault(entry.candidate, {})[entry.rung] = entry
    if len(rungs) < 2 or not scored:
        return Drawn(
            missing="There is one rung only, so nobody climbed." if len(rungs) == 1 else "No rung was reached."
        )
    curves = [
        (climbed[min(climbed)].paradigm, [climbed[rung].score for rung in sorted(climbed)])
        for climbed in scored.values()
    ]
    return Drawn(charts.ladder(curves, rungs))


def _loss_figure(found: Found) -> Drawn:
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
    test = (found.result or {}).get("test", {})
    if not found.target.curved:
        return Drawn(missing="It is not drawn for this task: each of its points would take passes over all images.")
    points = label_curve.whole(test)
    if not points:
        return Drawn(missing="The label curve was not drawn: there was no time, or there are too few labels.")
    scratch = test["entrants"].get("supervised", {}).get(test["metric"])
    return Drawn(charts.label_curve(points, NAMES, metric_name(test), scratch))


def _answer_figure(found: Found) -> Drawn:
    path = found.folder.artifacts / "answers.npz"
    if found.target.figure in ("", *ASKED) or not path.is_file():
        return Drawn()
    if found.target.figure in PICTURED:
        return _pictures(found)
    return Drawn(answers.values(_outcomes(found), found.data.get("columns", ())))


def _pictures(found: Found) -> Drawn:
    path = found.folder.artifacts / "pictures.npz"
    if found.config.no_images:
        return Drawn(missing=LEFT_OUT)
    if not path.is_file():
        return Drawn(missing="No pictures were kept: the run was interrupted in the test.")
    with np.load(path, allow_pickle=False) as stored:
        drawn = {ENTRANTS[name].words: stored[f"of {name}"] for name in stored["names"].tolist()}
        own = measure((found.result or {})["test"])
        values = [own.text(value) for value in stored["value"].tolist()]
        images, scale, truth = stored["images"], float(stored["scale"]), stored["truth"]
        if found.target.figure == "pairs":
            fields = {name: shares / SHARE for name, shares in drawn.items()}
            return Drawn(png=restorations.sheet(images / scale, truth / SHARE, fields, values))
        draw: Callable[..., Any] = overlays.outlined
        if found.target.figure == "boxes":
            draw = partial(overlays.boxed, least=detections.threshold(_outcomes(found)))
        return Drawn(png=overlays.sheet(images, scale, {"truth": truth, **drawn}, values, draw))


def _curve_figure(found: Found) -> Drawn:
    if found.target.figure != "boxes" or not (found.folder.artifacts / "answers.npz").is_file():
        return Drawn()
    return Drawn(detections.curves(_outcomes(found), found.data.get("classes", ())))


def _outcomes(found: Found) -> Outcomes:
    """What the chosen network answered in the test."""
    with np.load(found.folder.artifacts / "answers.npz", allow_pickle=False) as stored:
        return Outcomes.loaded({name: stored[name] for name in stored if name != "entrant"})


def read_answers(found: Found) -> Reading | None:
    """What the chosen network answered to questions of yes and no; None where there are none or none can be read."""
    try:
        return _reading(found)
    except Exception as fault:  # as of a figure: of NumPy, zipfile and the data's own files
        log.info("report: no answers class by class (%s: %s)", type(fault).__name__, fault)
        return None


def _reading(found: Found) -> Reading | None:
    kind = found.target.figure
    if kind not in ASKED or not (found.folder.artifacts / "answers.npz").is_file():
        return None
    context = open_context(found.folder, "cpu")
    names = found.data["columns" if kind == "findings" else "classes"]
    return Reading.of(kind, _outcomes(found), tuple(names), context.groups(context.rows(TEST, labelled=True)))


def _error_figure(found: Found, reading: Reading) -> Drawn:
    if found.config.no_images:
        return Drawn(missing=LEFT_OUT)
    rows = diagnosis.errors(reading)
    if not len(rows):
        return Drawn(missing="No image of the test part was told wrong." if reading.exclusive else "")
    context = open_context(found.folder, "cpu")
    images = np.take(context.data.images, context.rows(TEST, labelled=True)[rows], axis=0)
    return Drawn(png=diagnosis.sheet(images, context.data.scale, diagnosis.words(reading, rows)))


def _map_figure(found: Found) -> Drawn:
    path = found.folder.artifacts / "test.npz"
    if not path.is_file():
        return Drawn(missing="The embedding map needs the test, which has not been made yet.")
    with np.load(path, allow_pickle=False) as stored:
        return Drawn(charts.embedding_map(stored["winner"], stored["labels"], found.data.get("classes", [])))


def _tolerance_figure(found: Found) -> Drawn:
    asked = Tolerance.from_dict(found.state.get("tolerance") or {})
    told = f"{asked.words()[0].upper()}{asked.words()[1:]}."
    if not asked.readings:
        return Drawn(missing=told)
    return Drawn(tolerated.figure(asked, METRICS[found.measured].words), words=told)


def _view_figure(found: Found) -> Drawn:
    row = found.row(found.winner)
    if found.config.no_images:
        return Drawn(missing=LEFT_OUT)
    if row is None:
        return Drawn(missing="There is no candidate whose views could be shown.")
    if found.result:
        chosen = found.result["candidate"]["hyperparameters"]
    else:
        chosen = {**read_space(found.config.space)[row["method"]].fixed, **row["hyperparameters"]}
    return Drawn(png=charts.contact_sheet(shown(open_context(found.folder, "cpu"), row["method"], chosen)))
