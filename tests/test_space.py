"""Search spaces: what a TOML file may say, and one clear sentence for what it may not."""

import warnings
from pathlib import Path

import optuna
import pytest

from autossl.errors import UserError
from autossl.pretext import METHODS
from autossl.record.entries import METHOD
from autossl.trials.fitted import at_jitter
from autossl.trials.space import Range, as_trial, build, read_space, suggest
from autossl.views.presets import modalities, preset
from tests.pretext_toys import fitting

WRONG = {  # what is in the file, and what the sentence must name
    "nothing": ("", "found none"),
    "no TOML": ("[simclr", "cannot be read"),
    "no table": ("lr = 1e-3", "lr = 0.001"),
    "unknown method": ("[simclear]\nlr = 1e-3", "simclear"),
    "unknown keyword": ("[simclr]\ntemprature = 0.5", "temprature"),
    "range upside down": ("[simclr]\nlr = { low = 1.0, high = 0.1 }", "simclr.lr"),
    "range without an end": ("[simclr]\nlr = { low = 1.0 }", "simclr.lr"),
    "range of words": ('[simclr]\nlr = { low = "a", high = "b" }', "simclr.lr"),
    "range with a typing error": ("[simclr]\nlr = { low = 0.1, hihg = 1.0 }", "simclr.lr"),
    "logarithm of zero": ("[simclr]\nlr = { low = 0.0, high = 1.0, log = true }", "above zero"),
    "empty choice": ("[simclr]\nhidden = []", "simclr.hidden"),
    "choice of lists": ("[simclr]\nhidden = [[1], [2]]", "simclr.hidden"),
    "prior of numbers": ("[simclr]\nprior = [1]", "simclr.prior"),
    "prior without a key": ("[simclr]\nprior = [{}]\nlr = { low = 0.1, high = 1.0 }", "lr"),
    "prior outside": ("[simclr]\nprior = [{ lr = 2.0 }]\nlr = { low = 0.1, high = 1.0 }", "simclr.lr = 2.0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_space_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    text, named = WRONG[case]
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=named.replace(".", r"\.")) as refused:
        read_space(str(path))
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_bytes(b"\xff\xfe\x00[")
    with pytest.raises(UserError, match="cannot be read"):
        read_space(str(path))
    with pytest.raises(UserError, match="found nothing"):
        read_space(str(tmp_path / "missing.toml"))


def test_every_method_has_a_table_and_a_prior() -> None:
    space = read_space("auto")
    assert set(space) == set(METHODS)
    assert all(all(table.priors) for table in space.values())


@pytest.mark.parametrize("name", METHODS)
def test_what_is_drawn_builds_the_method(name: str) -> None:
    """Draws of Optuna and the priors reach the class, its views and the trainer."""
    space = {name: read_space("auto")[name]}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.enqueue_trial(as_trial(name, space[name].priors[0]))
    for number in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            method, drawn = suggest(study.ask(), space)
        assert method == name
        assert set(drawn) == set(space[name].searched) | set(space[name].fixed)
        for key, domain in space[name].searched.items():
            assert domain.holds(drawn[key]) if isinstance(domain, Range) else drawn[key] in domain
        if number == 0:
            assert {key: drawn[key] for key in space[name].priors[0]} == space[name].priors[0]
        pretext, settings = build(name, drawn, fitting(name, 1), preset("auto", 1), (0.5,), (0.2,))
        assert isinstance(pretext, METHODS[name])
        assert settings.lr == drawn["lr"]
        assert pretext.views.jitter == drawn.get("jitter", pretext.views.jitter)


def test_a_space_of_one_method_draws_that_one() -> None:
    space = {"vicreg": read_space("auto")["vicreg"]}
    trial = optuna.create_study().ask()
    assert suggest(trial, space)[0] == "vicreg"
    assert trial.params[METHOD] == "vicreg"


def test_a_modality_moves_the_jitter_of_priors_as_far_as_ranges_go() -> None:
    space = read_space()
    moved = at_jitter(space, 0.5)
    assert at_jitter(space, None) is space
    for name, table in moved.items():
        for prior, was in zip(table.priors, space[name].priors, strict=True):
            assert prior == ({**was, "jitter": 0.5} if "jitter" in was else was)
    assert at_jitter(space, 0.99)["simclr"].priors == space["simclr"].priors  # its range ends below


@pytest.mark.parametrize("modality", list(modalities()))
def test_one_channel_begins_with_more_jitter_than_colours_do(modality: str) -> None:
    grey = "colour" in modalities()[modality].lacks
    assert modalities()[modality].first_jitter == (0.5 if grey else None)
