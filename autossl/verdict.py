"""The answer of a study in words: did self-supervision help on its target, and by how much."""

from typing import Any, NamedTuple

METRICS = {"balanced_accuracy": "balanced accuracy", "macro_auroc": "macro AUROC"}
NAMES = {  # as a sentence has them
    "winner": "the winner",
    "winner, fine-tuned": "the winner, fine-tuned",
    "untrained": "the untrained encoder",
    "weights": "the given weights",
    "supervised": "training on the same labels alone",
    "supervised, frozen": "the encoder trained on the same labels (frozen)",
}
TUNED = "winner, fine-tuned"
BASELINES = ("supervised", "supervised, frozen", "weights", "untrained")
EXPORT = "autossl export RUN PATH --candidate supervised"


class Verdict(NamedTuple):
    """The answer: `kind` is helped, hurt, unclear or none (no result yet); `first` is its first line."""

    kind: str
    first: str


def headline(result: dict[str, Any], config: dict[str, Any]) -> str:
    """One sentence: did self-supervision help on this target, and by how much."""
    return verdict(result, config).first


def verdict(result: dict[str, Any], config: dict[str, Any]) -> Verdict:
    """Judge the winner by its paired differences to the baselines; one that beats it is named first.

    What is judged is what `model/` holds: the fine-tuned winner where it was fine-tuned.
    """
    test = result["test"]
    tuned = "adapted_differences" in test
    differences = test["adapted_differences"] if tuned else test["differences"]
    gaps = {name: differences[name] for name in BASELINES if name in differences}
    judged = TUNED if tuned else "winner"
    who = f"the winner ({result['candidate']['method']}{', fine-tuned' if tuned else ''})"
    reached = f"{who} reaches a {metric_name(test)} of {_scored(test, judged)} on the test part"
    lost = [name for name in gaps if gaps[name]["high"] < 0]
    if lost:
        return Verdict(
            "hurt",
            "A baseline beats self-supervision here: " + _sentence(_lost(test, gaps, lost, judged, who), _frozen(test)),
        )
    unclear = [name for name in gaps if gaps[name]["low"] <= 0]
    same = [name for name in unclear if gaps[name]["low"] == gaps[name]["high"] == 0]
    gains = [f"{_signed(gaps[name])} against {NAMES[name]}" for name in gaps if name not in unclear]
    if unclear or not gaps:
        more = f"it does gain {_joined(gains)}" if gains else ""
        told = _sentence(reached, *_open(gaps, unclear, same), more, _frozen(test))
        if unclear and unclear == same:
            return Verdict("unclear", f"Self-supervision made no difference: {told}")
        return Verdict("unclear", f"Cannot tell whether self-supervision helped: {told}")
    missing = "was left out by a stop" if result.get("stopped") else "did not fit"
    rest = "" if "supervised" in gaps else f"training on the labels alone {missing}, so that comparison is missing"
    return Verdict(
        "helped", "Self-supervision helped: " + _sentence(f"{reached}, {_joined(gains)}", rest, _frozen(test))
    )


def _open(gaps: dict[str, Any], unclear: list[str], same: list[str]) -> list[str]:
    """What the winner is not known to beat: baselines whose interval includes zero, and such with equal scores."""
    if not gaps:
        return ["there is nothing to compare it with"]
    why = _joined([f"{NAMES[name]}, {_signed(gaps[name])}" for name in unclear if name not in same])
    equal = f"no difference to {_joined([NAMES[name] for name in same])}, the scores are equal" if same else ""
    return [f"its difference to {why}, includes zero" if why else "", equal]


def _lost(test: dict[str, Any], gaps: dict[str, Any], lost: list[str], judged: str, who: str) -> str:
    """Which baseline beats the winner, by how much, and what to do."""
    worst = min(lost, key=lambda name: float(gaps[name]["value"]))
    gap, metric = gaps[worst], test["metric"]
    by = f"{-gap['value']:.3f} [{-gap['high']:.3f}, {-gap['low']:.3f}] {metric_name(test)}"
    values = [test["entrants"][name][metric] for name in (worst, judged)]
    advice = "keep these weights" if worst == "weights" else "search longer, or with more images"
    if any(name.startswith("supervised") for name in lost):
        advice = f"{EXPORT} gives the encoder trained on the labels"
    return f"{NAMES[worst]} beats {who} by {by} on the test part ({values[0]:.3f} to {values[1]:.3f}); {advice}"


def _frozen(test: dict[str, Any]) -> str:
    """A remark on the frozen encoder, where the fine-tuned one was judged."""
    return f"frozen, with a logistic probe, it reaches {_scored(test, 'winner')}" if TUNED in test["entrants"] else ""


def metric_name(test: dict[str, Any]) -> str:
    """The metric of a test as people write it."""
    return METRICS.get(test["metric"], str(test["metric"]))


def _scored(test: dict[str, Any], name: str) -> str:
    """0.803 [0.788, 0.817]."""
    found, metric = test["entrants"][name], test["metric"]
    low, high = found["interval"][metric]
    return f"{found[metric]:.3f} [{low:.3f}, {high:.3f}]"


def _signed(gap: dict[str, float]) -> str:
    return f"{gap['value']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"


def _joined(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + "".join(parts[-1:])


def _sentence(*clauses: str) -> str:
    return "; ".join(clause for clause in clauses if clause) + "."
