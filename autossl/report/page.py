"""The report: one self-contained HTML file that answers first, at every stage of a study."""

import platform
import re
import shlex
from dataclasses import replace
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits

from autossl.errors import UserError
from autossl.errors.printable import joined
from autossl.model.entrants import NAMES, measure, measures
from autossl.model.export import PACKAGES
from autossl.pretext import METHODS
from autossl.proxies import METRICS
from autossl.record.clock import in_words, spent
from autossl.record.config import StudyConfig
from autossl.record.folder import Folder, read_json, replace_file
from autossl.record.journal import entries
from autossl.report import label_curve
from autossl.report.facts import Found, read
from autossl.report.html import rendered
from autossl.report.in_markdown import in_markdown
from autossl.report.leaderboard import shortcuts
from autossl.report.sentence import short
from autossl.report.verdict import alternatives, answer, chosen, detectable, headline, metric_name, remarks
from autossl.trials.standing import CUT_OFF
from autossl.trials.starts import Start

__all__ = ["headline", "write_report"]

MOST_ROWS = 40  # of the leaderboard
PATHS = ("data", "unlabeled", "labels", "space")  # settings that may be paths
DEFAULTS: dict[str, Any] = {"metric": "auto", "adaptation": "auto", "space": "auto", "modality": "auto", "seed": 0}
SET = ("start", "backbone", "image_size")  # settings that a repetition always names
RESOLVED = ("precision", "device", "workers")  # settings whose defaults follow from the machine


def write_report(folder: Folder, path: Path, no_images: bool = False) -> Path:
    """Write the report on the study as it stands to `path` and return that; UserError if its folder is missing.

    With `no_images` no picture in it has pixels of images, whatever the study was asked for.
    """
    if not path.parent.is_dir():
        raise UserError(f"a folder for the report was wanted, found none at {path.parent}; make it or choose another")
    found = read(folder)
    if no_images:
        found = found._replace(config=replace(found.config, no_images=True))
    with threadpool_limits(1):  # small problems; threads that wait for each other on a busy machine took a minute
        facts = _facts(found)
    _write(path, rendered("report.html.j2", facts, three=_three, duration=in_words, said=_said))
    _write(path.with_suffix(".md"), in_markdown(facts, three=_three))
    return path


def _write(path: Path, text: str) -> None:
    replace_file(path, lambda file: file.write(text.encode()))


def _said(svg: str, caption: str) -> str:
    """A figure with its caption as what a screen reader says of it."""
    label = f'aria-label="{escape(caption)}"'
    return re.sub('aria-label="[^"]*"', lambda _: label, svg, count=1)


def _facts(found: Found) -> dict[str, Any]:
    """Everything the template shows."""
    from autossl.report.figures import figures, read_answers  # here, because a search needs them only at its end

    plan, reading = found.state.get("plan") or {}, read_answers(found)
    tried = {str(t.user_attrs["method"]) for t in found.trials if "method" in t.user_attrs}
    return {
        **_tested(found),
        "reading": reading,
        "figures": figures(found, reading),
        "caution": found.caution,
        "detectable": _detectable(found),
        "headings": found.headings,
        "ranks": found.target.ranks,
        "scored": found.target.scored,
        "found": found,
        "started": _started(found),
        "settings": _without_folders(found.config),
        "name": found.data.get("name") or found.config.study_name,
        "plan": plan,
        "shown": _shown(found),
        "shortcuts": shortcuts(found.rows),
        "failures": _failures(found.trials),
        "interrupted": sum(t.user_attrs.get("reason") in CUT_OFF for t in found.trials),
        "not_tried": [m for m in plan.get("methods", ()) if m not in tried]
        + [m for m in plan.get("skipped", ()) if m not in tried],
        "candidates": len({e.candidate for e in entries(found.trials)}),
        "spent": _spent(found.trials),
        "seconds": sum(run["seconds"] for run in found.runs),
        "used": spent(found.runs, found.config.gpus),
        "stages": _stages(found),
        "repeat": _repeat(found),
        "versions": _versions(found.folder),
        "cite": _cite(found),
    }


def _tested(found: Found) -> dict[str, Any]:
    """The answer, and what the test was."""
    result = found.result
    test, told = (result or {}).get("test"), answer(found)
    return {
        "verdict": told,
        "short": short(result, told.kind) if result and test else "",
        "alternatives": alternatives(result) if result else "",
        "remarks": remarks(result) if result else [],
        "probe": (result or {}).get("probe", "a logistic probe"),
        "names": NAMES,
        "test": test,
        "chosen": chosen(test) if test else None,
        "metric": metric_name(test) if test else "",
        "measure": measure(test) if test else None,
        "measures": measures(test) if test else [],
        "curve": label_curve.words(test, bool(found.data.get("patients"))) if test else "",
    }


def _started(found: Found) -> str:
    """What given weights there were and where candidates began; empty without any."""
    config, known = found.config, found.state.get("starts")
    if not config.given:
        return ""
    licences = joined([f"{each['name']}: {each['licence']}" for each in config.given if "licence" in each])
    told = f" Licences: {licences}." if licences else ""
    begins = known["begins"] if known else config.start == "weights"
    trains = known.get("trains") or known["given"] if known else None
    began = "random weights" if not begins else Start.from_dict(trains).words(config.image_size) if trains else "them"
    names = joined([each["name"] for each in config.given])
    return (
        f"Given weights: {names}. Candidates started from {began}; training on the labels alone started from random "
        f"weights. If the given weights were trained on images of the test part, the test flatters them.{told}"
    )


def _detectable(found: Found) -> str:
    """What the test part can show at all."""
    parts, least = found.data.get("parts"), found.state.get("detectable")
    if not parts or not least:
        return ""
    unit = "volumes" if found.data.get("unit") == "voxels" else "images"
    told = detectable(parts["test"]["labels"], unit, least, METRICS[found.measured])
    return f"{told[0].upper()}{told[1:]}."


def _shown(found: Found) -> list[dict[str, Any]]:
    """The top of the leaderboard, the winner and the baselines."""
    return [
        row
        for place, row in enumerate(found.rows)
        if place < MOST_ROWS or row["paradigm"] == "baseline" or row["candidate"] == found.winner
    ]


def _failures(trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Failed segments with their reasons; a double is no failure, it was another worker's."""
    no_failure = {"double", *CUT_OFF}
    failed = [
        t.user_attrs for t in trials if t.state == TrialState.FAIL and t.user_attrs.get("reason") not in no_failure
    ]
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
    """The command that repeats this study: its plan without the clock, and what another machine might not choose."""
    config = _without_folders(found.config)
    words = ["autossl", "search", config.get("data", "DATA")]
    words += [word for key in ("unlabeled", "labels") if config.get(key) for word in (f"--{key}", str(config[key]))]
    for key in ("task", "label_column", "patient_column", "missing", "order", "max_labels", *DEFAULTS, *SET):
        if config.get(key) is not None and config[key] != DEFAULTS.get(key):
            words += [f"--{key.replace('_', '-')}", str(config[key])]
    words += ["--no-images"] if found.config.no_images else []
    for name in [each["name"] for each in found.config.given] or ["none"]:
        words += ["--weights", name]
    methods = [*found.config.methods, *found.config.left_out]
    if set(methods) != set(METHODS):
        words += ["--methods", ",".join(methods)]
    words += [word for key in RESOLVED for word in (f"--{key}", str(config[key]))]
    return shlex.join([*words, "--plan", found.folder.root.resolve().name, "--out", "NEW"])


def _stages(found: Found) -> list[tuple[str, float, float | None]]:
    """What was done: each stage, when it began on the study's clock, and how long it took."""
    told = found.state.get("stages") or []
    took = [None if after is None else max(0.0, after["at"] - each["at"]) for each, after in _followed(told)]
    return [(each["stage"], each["at"], seconds) for each, seconds in zip(told, took, strict=True)]


def _followed(told: list[Any]) -> list[tuple[Any, Any]]:
    """Each with the one after it, the last with None."""
    return list(zip(told, [*told[1:], None], strict=False))


def _cite(found: Found) -> list[str]:
    """What a paper that uses the encoder names: this program, the method's own paper, and the data by fingerprint."""
    config, row = found.config, found.row(found.winner)
    told = f"AutoSSL {config.version}, study {config.study_name}"
    data = f", data {found.data['fingerprint'][:16]}" if "fingerprint" in found.data else ""
    method = found.result["candidate"]["method"] if found.result else row and row["method"]
    return [f"{told}{data}.", *([f"{method}: {METHODS[method].paper}."] if method in METHODS else [])]


def _without_folders(config: StudyConfig) -> dict[str, Any]:
    """The settings with paths cut to their last part: folders may name people, and a report is passed on."""
    told = {key: value for key, value in config.options.items() if value is not None and key != "given"}
    told["weights"] = [Path(text).name for text in config.weights]
    return {**told, **{key: Path(told[key]).name for key in PATHS if told.get(key)}}


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
