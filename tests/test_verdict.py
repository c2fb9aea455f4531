"""The answer in words follows the paired intervals of the test."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autossl.report.page import headline
from autossl.report.sentence import short
from autossl.report.verdict import verdict

SUPERVISED = {"settings": {"lr": 2e-3, "tried": 3}, "seconds": 9.0, "selection": 0.7}


def outcome(gaps: dict[str, tuple[float, float, float]], tuned: bool = False) -> dict[str, Any]:
    """A result as the end of a study writes it, with these differences of the winner to others."""
    if tuned:
        gaps = {**gaps, "winner, fine-tuned": (-0.05, -0.07, -0.03)}
    values = {"winner": 0.8, **{name: 0.8 - gap[0] for name, gap in gaps.items()}}
    entrants = {
        name: {
            "balanced_accuracy": value, "macro_auroc": 0.9, "accuracy": value,
            "interval": {"balanced_accuracy": [value - 0.02, value + 0.02], "macro_auroc": [0.88, 0.92]},
        }
        for name, value in values.items()
    }  # fmt: skip
    curve = [
        {"labels": n, "name": name, "mean": 0.5, "sd": 0.1, "draws": 1 if n == 60 else 3}
        for n in (10, 30, 60)
        for name in ("winner", "untrained")
    ]
    signs = ("value", "low", "high")
    shifted = {n: [end + 0.05 for end in gap] for n, gap in gaps.items()}
    adapted = {n: dict(zip(signs, gap, strict=True)) for n, gap in shifted.items() if n != "winner, fine-tuned"}
    return {
        "candidate": {
            "number": 1, "method": "rotation", "paradigm": "non-contrastive and predictive", "rung": 1,
            "hyperparameters": {"lr": 1e-3, "crop_min": 0.5, "jitter": 0.3}, "aligned_score": 0.75, "se": 0.01,
        },
        "selection": [0.77],
        "final_training": {"kept": True, "selection_before": 0.77, "selection_after": 0.78, "images": 1000},
        "adaptation": {"chosen": "finetune" if tuned else "frozen", "why": "60 labels"},
        "supervised": SUPERVISED if "supervised" in gaps else None,
        "test": {
            "entrants": entrants, "metric": "balanced_accuracy", "images": 45, "labels": 60, "label_curve": curve,
            "differences": {n: dict(zip(signs, gap, strict=True)) for n, gap in gaps.items()},
            **({"adapted_differences": adapted} if tuned else {}),
        },
        "tests": 1,
    }  # fmt: skip


GOOD = {"untrained": (0.1, 0.05, 0.15), "supervised": (0.2, 0.15, 0.25), "supervised, frozen": (0.06, 0.01, 0.1)}


def test_a_baseline_that_wins_comes_first_with_what_to_do() -> None:
    first = headline(outcome({**GOOD, "supervised": (-0.1, -0.15, -0.05)}))
    assert first.startswith(
        "A baseline beats self-supervision here: training on the same labels alone beats the winner (rotation) by "
        "0.100 [0.050, 0.150] balanced accuracy on the test part (0.900 to 0.800)"
    )
    assert first.endswith("; the choice was made before the test, and stands.")


def test_other_baselines_that_win_do_not_send_to_the_supervised_one() -> None:
    first = headline(outcome({**GOOD, "weights": (-0.1, -0.15, -0.05)}))
    assert first.startswith("A baseline beats self-supervision here: the given weights")
    assert "--candidate" not in first


def test_an_interval_that_holds_zero_cannot_tell() -> None:
    first = headline(outcome({**GOOD, "supervised": (0.01, -0.02, 0.04)}))
    assert first.startswith("Cannot tell whether self-supervision helped: ")
    assert "training on the same labels alone, +0.010 [-0.020, +0.040], includes zero" in first
    assert "it does gain" in first


def test_equal_scores_are_no_difference() -> None:
    first = headline(outcome({**GOOD, "supervised": (0.0, 0.0, 0.0)}))
    assert first.startswith("Self-supervision made no difference: the winner (rotation) reaches")
    assert "no difference to training on the same labels alone, the scores are equal; it does gain" in first
    mixed = headline(outcome({"supervised": (0.0, 0.0, 0.0), "untrained": (0.01, -0.02, 0.04)}))
    assert mixed.startswith("Cannot tell")
    assert "+0.010 [-0.020, +0.040], includes zero; no difference to training" in mixed


def test_the_fine_tuned_winner_is_judged_where_it_is_what_the_model_holds() -> None:
    first = headline(outcome({**GOOD, "supervised": (-0.04, -0.045, -0.03)}, tuned=True))
    assert first.startswith(
        "Self-supervision helped: the winner (rotation, fine-tuned) reaches a balanced accuracy of 0.850"
    )
    assert "+0.010 [+0.005, +0.020] against training on the same labels alone" in first
    assert "frozen, with a logistic probe, it reaches 0.800" in first


def chosen(arm: str, gaps: dict[str, tuple[float, float, float]]) -> dict[str, Any]:
    """The same where `model/` holds this arm, with these differences of it to others."""
    result = outcome(GOOD, tuned=True)
    found = {name: dict(zip(("value", "low", "high"), gap, strict=True)) for name, gap in gaps.items()}
    result["test"] |= {"chosen": arm, "chosen_differences": found}
    return result


def test_a_model_that_owes_nothing_to_the_search_says_what_the_winner_would_have_given() -> None:
    clear = {"winner": (0.1, 0.05, 0.15), "winner, fine-tuned": (0.05, 0.01, 0.09), "untrained": (0.2, 0.1, 0.3)}
    found = verdict(chosen("supervised", clear))
    assert found.kind == "hurt"
    assert found.first.startswith(
        "Self-supervision did not help here: model/ holds training on the same labels alone, which was chosen before "
        "the test and reaches a balanced accuracy of 0.600"
    )
    assert "the winner (rotation) would have given 0.800 [0.780, 0.820], a difference of -0.100 [-0.150, -0.050]" in (
        found.first
    )
    assert "the winner (rotation, fine-tuned) would have given" in found.first
    assert verdict(chosen("supervised", {**clear, "winner, fine-tuned": (0.0, -0.1, 0.1)})).kind == "unclear"


def test_a_chosen_winner_is_judged_by_its_own_differences() -> None:
    found = verdict(chosen("winner, fine-tuned", {"untrained": (0.2, 0.1, 0.3), "supervised": (0.1, 0.05, 0.15)}))
    assert found.kind == "helped"
    assert "+0.100 [+0.050, +0.150] against training on the same labels alone" in found.first


def test_a_missing_supervised_baseline_is_said() -> None:
    first = headline(outcome({"untrained": (0.1, 0.05, 0.15)}))
    assert first.startswith("Self-supervision helped")
    assert "training on the labels alone did not fit" in first


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        (
            GOOD,
            "Self-supervision helped: 0.800 balanced accuracy, 0.060 more than the encoder trained on the same labels",
        ),
        (
            {**GOOD, "supervised": (-0.1, -0.15, -0.05)},
            "A baseline is better: training on the same labels alone, 0.900",
        ),
        ({**GOOD, "supervised": (0.01, -0.02, 0.04)}, "Cannot tell whether self-supervision helped: 0.800 balanced"),
        (
            {"supervised": (0.0, 0.0, 0.0)},
            "Cannot tell whether self-supervision helped: 0.800 balanced accuracy, as much",
        ),
    ],
)
def test_the_short_sentence_has_two_numbers_and_few_words(
    gaps: dict[str, tuple[float, float, float]], said: str
) -> None:
    result = outcome(gaps)
    first = short(result, verdict(result).kind)
    assert first.startswith(said)
    assert len(first.split()) <= 18
    assert len(re.findall(r"\d\.\d+", first)) == 1 + ("as much" not in first)


def test_a_model_that_owes_nothing_to_the_search_is_named_in_the_short_sentence() -> None:
    result = chosen("supervised", {"winner": (0.1, 0.05, 0.15), "untrained": (0.2, 0.1, 0.3)})
    assert short(result, verdict(result).kind) == (
        "Self-supervision did not help: training on the same labels alone, 0.600 balanced accuracy, 0.100 more than "
        "the winner."
    )


gap = st.tuples(st.floats(-0.4, 0.4), st.floats(0.001, 0.2), st.floats(0.001, 0.2)).map(
    lambda g: (g[0], g[0] - g[1], g[0] + g[2])
)


@given(
    st.dictionaries(st.sampled_from(["untrained", "supervised", "supervised, frozen", "weights"]), gap), st.booleans()
)
def test_the_verdict_follows_the_intervals(gaps: dict[str, tuple[float, float, float]], tuned: bool) -> None:
    found = verdict(outcome(gaps, tuned))
    if tuned:  # the fine-tuned winner is .05 better than the frozen one
        gaps = {name: (value + 0.05, low + 0.05, high + 0.05) for name, (value, low, high) in gaps.items()}
    if any(high < 0 for _, _, high in gaps.values()):
        assert found.kind == "hurt"
    elif gaps and all(low > 0 for _, low, _ in gaps.values()):
        assert found.kind == "helped"
    else:
        assert found.kind == "unclear"
    assert "\n" not in found.first
    assert found.first.endswith(".")
