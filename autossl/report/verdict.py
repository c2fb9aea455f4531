"""The answer of a study in words: did self-supervision help on its target, by how much, and can that be known."""

import math
from typing import Any, NamedTuple

from optuna.trial import TrialState

from autossl.errors.printable import joined
from autossl.model.entrants import BASELINES, ENTRANTS, NAMES, TUNED, measure
from autossl.proxies import METRICS, Metric
from autossl.record.clock import in_words
from autossl.report import unverified
from autossl.report.facts import Found

BLUNT = 0.2  # a difference that a test should be able to show
CARRIED, SURE = 0.05, 2.0  # how far, in score and in standard errors, a test may fall below the search's score
NORMAL = 1.96  # standard errors from the middle of a 95 % interval to its ends


class Verdict(NamedTuple):
    """The answer: `kind` is helped, hurt, unclear or none (no result yet); `first` is its first line, also as text."""

    kind: str
    first: str

    def __str__(self) -> str:
        return self.first


def answer(found: Found) -> Verdict:
    """The answer of a study at any stage."""
    return verdict(found.result) if found.result else _so_far(found)


def headline(result: dict[str, Any]) -> str:
    """One sentence: did self-supervision help on this target, and by how much."""
    return verdict(result).first


def verdict(result: dict[str, Any]) -> Verdict:
    """Judge what `model/` holds by its paired differences to the baselines; one that beats it is named first.

    Where that is no self-supervised encoder, it is compared with those.
    """
    if "test" not in result:
        return Verdict("none", unverified.first_line(result))
    test = result["test"]
    if few := test.get("few"):
        return Verdict("unclear", _unmeasured(result, few))
    judged, differences = chosen(test)
    if ENTRANTS[judged].role == "control":
        return _without(result, judged, differences)
    gaps = {name: differences[name] for name in BASELINES if name in differences}
    who = _who(result, judged)
    reached = f"{who} reaches {measure(test).one} of {_scored(test, judged)} on the test part"
    lost = [name for name in gaps if gaps[name]["high"] < 0]
    if lost:
        return Verdict(
            "hurt",
            "A baseline beats self-supervision here: "
            + _sentence(_lost(test, gaps, lost, judged, who), _frozen(result, judged)),
        )
    unclear = [name for name in gaps if gaps[name]["low"] <= 0]
    same = [name for name in unclear if gaps[name]["low"] == gaps[name]["high"] == 0]
    gains = [f"{_signed(measure(test), gaps[name])} against {NAMES[name]}" for name in gaps if name not in unclear]
    if unclear or not gaps:
        more = f"it does gain {joined(gains)}" if gains else ""
        told = _sentence(reached, *_open(measure(test), gaps, unclear, same), more, _frozen(result, judged))
        if unclear and unclear == same:
            return Verdict("unclear", f"Self-supervision made no difference: {told}")
        return Verdict("unclear", f"Cannot tell whether self-supervision helped: {told}")
    rest = "" if "supervised" in gaps else _missing(result)
    return Verdict(
        "helped", "Self-supervision helped: " + _sentence(f"{reached}, {joined(gains)}", rest, _frozen(result, judged))
    )


def _so_far(found: Found) -> Verdict:
    """The first line while there is no result."""
    leader = found.row(found.winner)
    stage = found.state.get("stage", "starting")
    if leader is None:
        ended = [t for t in found.trials if t.state == TrialState.FAIL]
        why = f"all {len(ended)} trials so far failed" if ended else "no candidate has been scored"
        return Verdict("none", f"No answer yet: {why} (stage: {stage}).")
    if not found.target.ranks:
        return Verdict("none", f"No answer yet: nothing is trained on so far (stage: {stage}).")
    base = (found.state.get("baselines") or {}).get("untrained")
    text = METRICS[found.measured].text
    beside = f", the untrained encoder {text(base['score'])}" if base else ""
    score = f"{text(leader['score'])} ± {text(leader['se'] or 0.0)}"
    return Verdict(
        "none",
        f"No answer yet: {leader['method']} (candidate {leader['candidate']}) leads with an aligned score of {score}"
        f"{beside}; nothing has been tested (stage: {stage}).",
    )


def _missing(result: dict[str, Any]) -> str:
    """Why nothing was trained on the labels alone, and what that would take."""
    why = "was left out by a stop" if result.get("stopped") else "did not fit"
    wanted = result.get("choice", {}).get("wanted", {}).get("supervised")
    would = f" ({in_words(wanted)} of it would do)" if wanted else ""
    return f"training on the labels alone {why}{would}, so that comparison is missing"


def chosen(test: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What `model/` holds, and its differences to others; studies of before had the winner, frozen or fine-tuned."""
    if "chosen" in test:
        return test["chosen"], test["chosen_differences"]
    tuned = "adapted_differences" in test
    return (TUNED, test["adapted_differences"]) if tuned else ("winner", test["differences"])


def _who(result: dict[str, Any], name: str) -> str:
    """A self-supervised network of the test: the winner (dcl, fine-tuned)."""
    method = result["candidate"]["method"]
    if not name.startswith("winner"):
        return f"{NAMES[name]} ({method})"
    return f"the winner ({method}{name.removeprefix('winner')})"


def _without(result: dict[str, Any], judged: str, differences: dict[str, Any]) -> Verdict:
    """The answer where `model/` holds a network that owes nothing to the search."""
    test, metric = result["test"], measure(result["test"])
    ours = [name for name, row in ENTRANTS.items() if row.role == "winner" and name in differences]
    given = [
        f"{_who(result, name)} would have given {_scored(test, name)}, a difference of "
        f"{_signed(metric, _turned(differences[name]))}"
        for name in ours
    ]
    told = _sentence(
        f"model/ holds {NAMES[judged]}, which was chosen before the test and reaches {metric.one} of "
        f"{_scored(test, judged)} on the test part",
        *given,
    )
    if all(differences[name]["low"] > 0 for name in ours):
        return Verdict("hurt", f"Self-supervision did not help here: {told}")
    return Verdict("unclear", f"Cannot tell whether self-supervision helped: {told}")


def alternatives(result: dict[str, Any]) -> str:
    """What `model/` holds and why, and what each other way would have given; empty where no choice was written down."""
    choice, test = result.get("choice"), result.get("test")
    if not choice or not test or "chosen" not in test:
        return ""
    metric, gaps = measure(test), test["chosen_differences"]
    control = ENTRANTS[choice["arm"]].role == "control"  # the verdict names it then, and what ours would have given
    given = []
    for name in choice["arms"]:
        if name not in gaps or (control and ENTRANTS[name].role == "winner"):
            continue
        gap = f" ({_signed(metric, _turned(gaps[name]))})" if "low" in gaps[name] else ""
        given.append(f"{NAMES[name]} {metric.text(test['entrants'][name][metric.name])}{gap}")
    return _sentence(
        f"It was chosen because {choice['why']}"
        if control
        else f"model/ holds {NAMES[choice['arm']]}, chosen before the test: {choice['why']}",
        f"the others would have given, on the test part, {joined(given)}" if given else "",
    )


def _turned(gap: dict[str, float]) -> dict[str, float]:
    return {"value": -gap["value"], "low": -gap["high"], "high": -gap["low"]}


def _unmeasured(result: dict[str, Any], few: str) -> str:
    """The first line where the test part has too few patients of a class: scores without a judgement."""
    test = result["test"]
    text, metric = measure(test).text, test["metric"]
    others = [f"{NAMES.get(name, name)} {text(found[metric])}" for name, found in test["entrants"].items()
              if name != "winner"]  # fmt: skip
    beside = f", {joined(others)}" if others else ""
    return (
        f"{few[0].upper()}{few[1:]}: what follows cannot be measured with so few. The winner "
        f"({result['candidate']['method']}) reaches {measure(test).one} of {_scored(test, 'winner')} there{beside}."
    )


def remarks(result: dict[str, Any]) -> list[str]:
    """What has to be said beside the first line: a search score that the test does not bear out, or labels to make."""
    if "test" not in result:
        return [sentence for sentence in (unverified.others(result), unverified.advice(result["unit"])) if sentence]
    return [*_joint(result), *_not_carried(result)]


def _joint(result: dict[str, Any]) -> list[str]:
    """That two networks gain by answering together, whatever they have learnt before."""
    choice = result.get("choice", {})
    members = choice.get("arms", {}).get(choice.get("arm"), {}).get("members", ())
    if "supervised" not in members:
        return []
    return [
        "Two networks answer together here, one of them trained on the same labels alone. Part of the gain over that "
        "one is that of answering together, which two networks without self-supervision have as well; what "
        "self-supervision gains by itself is in the rows of the single networks."
    ]


def _not_carried(result: dict[str, Any]) -> list[str]:
    """A search score that the test does not bear out."""
    test, candidate = result["test"], result["candidate"]
    found, metric, text = test["entrants"].get("winner"), test["metric"], measure(test).text
    score, se = candidate.get("aligned_score"), candidate.get("se") or 0.0
    if found is None or score is None or "boxes" in measure(test).kinds:  # AP of cells is another quantity
        return []
    ends = found["interval"].get(metric)
    error = (ends[1] - ends[0]) / (2 * NORMAL) if ends else 0.0
    if score - found[metric] <= max(CARRIED, SURE * math.hypot(se, error)):
        return []
    return [
        f"The search score did not carry over to the test: {text(score)} on the probe part, {text(found[metric])} on "
        "the test part (the frozen winner). What the search chose by may not be what you are after."
    ]


def detectable(images: int, unit: str, found: float, metric: Metric) -> str:
    """What the test part can show at all: the least difference in the study's metric."""
    if found > BLUNT:
        return (
            f"the test part is too small to tell candidates and baselines apart: its {images} labelled {unit} can show "
            f"a difference of about {metric.text(found)} in {metric.words} at best; label more before you rely on its "
            "scores"
        )
    return (
        f"the {images} labelled {unit} of the test part can show a difference of about {metric.text(found)} in "
        f"{metric.words}, hardly a smaller one"
    )


def _open(metric: Metric, gaps: dict[str, Any], unclear: list[str], same: list[str]) -> list[str]:
    """What the winner is not known to beat: baselines whose interval includes zero, and such with equal scores."""
    if not gaps:
        return ["there is nothing to compare it with"]
    why = joined([f"{NAMES[name]}, {_signed(metric, gaps[name])}" for name in unclear if name not in same])
    equal = f"no difference to {joined([NAMES[name] for name in same])}, the scores are equal" if same else ""
    return [f"its difference to {why}, includes zero" if why else "", equal]


def _lost(test: dict[str, Any], gaps: dict[str, Any], lost: list[str], judged: str, who: str) -> str:
    """Which baseline beats the winner, by how much, and what to do."""
    worst = min(lost, key=lambda name: float(gaps[name]["value"]))
    gap, metric = gaps[worst], measure(test)
    by = f"{metric.text(-gap['value'])} [{metric.text(-gap['high'])}, {metric.text(-gap['low'])}] {metric.words}"
    values = [metric.text(test["entrants"][name][metric.name]) for name in (worst, judged)]
    advice = "keep these weights" if worst == "weights" else "search longer, or with more images"
    if any(name.startswith("supervised") for name in lost):
        advice = "the choice was made before the test, and stands"
    return f"{NAMES[worst]} beats {who} by {by} on the test part ({values[0]} to {values[1]}); {advice}"


def _frozen(result: dict[str, Any], judged: str) -> str:
    """A remark on the frozen encoder, where one that was fine-tuned was judged."""
    test, probe = result["test"], result.get("probe", "a logistic probe")
    return f"frozen, with {probe}, it reaches {_scored(test, 'winner')}" if judged != "winner" else ""


def metric_name(test: dict[str, Any]) -> str:
    """The metric of a test as people write it."""
    return measure(test).words


def _scored(test: dict[str, Any], name: str) -> str:
    """0.803 [0.788, 0.817]."""
    found, metric = test["entrants"][name], measure(test)
    ends = found["interval"].get(metric.name)
    return metric.text(found[metric.name]) + (f" [{', '.join(map(metric.text, ends))}]" if ends else "")


def _signed(metric: Metric, gap: dict[str, float]) -> str:
    value, low, high = (metric.text(gap[end], signed=True) for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _sentence(*clauses: str) -> str:
    return "; ".join(clause for clause in clauses if clause) + "."
