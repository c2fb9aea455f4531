"""A study in a few facts, as JSON: its answer, what was tested, its plan, its data, what won."""

from typing import Any

from autossl.model.entrants import NAMES, measure
from autossl.report.facts import Found
from autossl.report.verdict import answer, chosen, remarks

DATA, COUNTED = ("name", "fingerprint", "images", "patients", "classes"), ("images", "labels", "groups")
SETTINGS = ("task", "metric", "modality", "backbone", "image_size", "max_labels", "adaptation", "space", "seed")


def summary(found: Found) -> dict[str, Any]:
    """The facts; parts that are not there yet are empty."""
    told, config, plan = answer(found), found.config, found.state.get("plan") or {}
    return {
        "study": config.study_name,
        "answer": {"kind": told.kind, "first": told.first, "remarks": remarks(found.result) if found.result else []},
        "metric": found.measured,
        "arms": tested(found),
        "winner": _winner(found),
        "plan": {
            "limit": config.time_limit,
            "used": round(sum(run["seconds"] for run in found.runs), 1),
            **{key: plan.get(key) for key in ("rungs", "candidates", "finalists", "final_seconds", "finetune_seconds")},
            "started": found.status()["candidates"],
        },
        "data": _data(found.data),
        "settings": {key: getattr(config, key) for key in SETTINGS},
        "weights": [each["name"] for each in config.given],
    }


def tested(found: Found) -> list[dict[str, Any]]:
    """Each network of the test: its score and interval, and what the delivered one is better by, with its interval."""
    test = (found.result or {}).get("test")
    if not test:
        return []
    metric, (delivered, gaps) = measure(test).name, chosen(test)
    return [
        {
            "name": name,
            "words": NAMES.get(name, name),
            "delivered": name == delivered,
            "score": each[metric],
            "interval": each.get("interval", {}).get(metric),
            "better by": gaps.get(name),
        }
        for name, each in test["entrants"].items()
    ]


def _winner(found: Found) -> dict[str, Any] | None:
    """The candidate that won, or leads so far, with its hyperparameters."""
    row = found.row(found.winner)
    if row is None:
        return None
    settings = found.result["candidate"]["hyperparameters"] if found.result else row["hyperparameters"]
    keys = ("candidate", "method", "paradigm", "rung", "score", "se")
    return {**{key: row[key] for key in keys}, "hyperparameters": settings}


def _data(data: dict[str, Any]) -> dict[str, Any]:
    """What was searched on: how much of it, in which parts, with which flaws."""
    if not data:
        return {}
    parts = {name: {key: part.get(key) for key in COUNTED} for name, part in data["parts"].items()}
    flaws = {name: count for name, count in data["flaws"].items() if count}
    return {**{key: data.get(key) for key in DATA}, "parts": parts, "flaws": flaws}
