"""Repeating an earlier study: its plan without the clock, and its segments in order."""

from dataclasses import replace
from typing import Any

from autossl.errors import UserError
from autossl.record.config import read_config
from autossl.record.folder import Folder, existing, read_json, write_json
from autossl.record.journal import entries, read_study
from autossl.trials.plan import Plan


def adopt_plan(folder: Folder, path: str) -> None:
    """Take over the plan of an earlier study without its clock, and what it came from: costs, starts, tolerance."""
    earlier = existing(path)
    stored = read_json(earlier.state) or {}
    if "plan" not in stored:
        raise UserError(f"a study with a plan was wanted, found none in --plan {path}; give a study that has searched")
    if read_json(folder.state) is None:
        alike = read_config(folder.config).weights_sha256 == read_config(earlier.config).weights_sha256
        starts = {"starts": stored["starts"]} if alike and "starts" in stored else {}
        asked = {"tolerance": stored["tolerance"]} if "tolerance" in stored else {}
        write_json(folder.state, {"costs": stored["costs"], **starts, **asked, **_repeated(earlier, stored)})


def _repeated(earlier: Folder, stored: dict[str, Any]) -> dict[str, Any]:
    """The plan of a study without its clock, and its scored segments in order: what repeats it exactly."""
    study = read_study(earlier, read_config(earlier.config).study_name)
    trials = study.get_trials(deepcopy=False) if study else []
    segments = [
        {"candidate": e.candidate, "rung": e.rung, "prior_index": e.prior_index, "params": trials[e.number].params}
        for e in entries(trials)
        if e.state == "scored"
    ]
    plan = Plan.from_dict(stored["plan"])
    result = stored.get("result") or {}
    trained = result.get("final_training", {}).get("images")
    final = trained - plan.rungs[result["candidate"]["rung"]] if trained else 3 * plan.rungs[-1]
    count = len({s["candidate"] for s in segments})
    timeless = replace(plan, limit=None, until={}, max_candidates=count, final_images=final)
    return {"plan": timeless.to_dict(), "repeat": segments}
