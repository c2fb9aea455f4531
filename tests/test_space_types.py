"""Search spaces are checked against signatures in names, types and ranges; one without priors works."""

import inspect
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from autossl.errors import UserError
from autossl.pretext import METHODS
from autossl.record.journal import entries, sampler
from autossl.trials.bounds import GIVEN, kinds
from autossl.trials.fitted import served
from autossl.trials.space import Range, as_trial, read_space, suggest
from autossl.trials.worker import Worker
from studies.opened import opened

WRONG = {  # a line of [simclr], and what the sentence must name
    "a word for a number": ("lr = 'abc'", "simclr.lr = 'abc'"),
    "a date": ("lr = 1979-05-27", "simclr.lr = <date>"),
    "a word for a temperature": ("temperature = 'x'", "temperature"),
    "half an image": ("batch_size = 2.5", "batch_size = 2.5"),
    "whole, but no whole number": ("batch_size = 64.0", "batch_size = 64.0"),
    "no image": ("batch_size = 0", "batch_size = 0"),
    "one image": ("batch_size = 1", "batch_size = 1"),
    "fewer images than none": ("batch_size = -5", "batch_size = -5"),
    "a rate below zero": ("lr = -1", "simclr.lr = -1"),
    "no rate": ("lr = 0.0", "simclr.lr = 0.0"),
    "not a number": ("lr = nan", "simclr.lr = nan"),
    "infinite": ("lr = inf", "simclr.lr = inf"),
    "infinite end": ("lr = { low = 1e-4, high = inf }", "simclr.lr = inf"),
    "an end that is no number": ("lr = { low = nan, high = 1.0 }", "range was wanted"),
    "upside down": ("lr = { low = 1.0, high = 0.1 }", "low <= high"),
    "logarithm from zero": ("weight_decay = { low = 0.0, high = 0.1, log = true }", "above zero"),
    "steps": ("lr = { low = 0.1, high = 1.0, step = 0.1 }", "range was wanted"),
    "truth values as ends": ("lr = { low = false, high = true }", "range was wanted"),
    "log as a number": ("lr = { low = 0.1, high = 1.0, log = 1 }", "range was wanted"),
    "whole ends wanted": ("batch_size = { low = 32.0, high = 64.0 }", "batch_size = 32.0"),
    "jitter of 99": ("jitter = 99", "jitter = 99"),
    "a choice with jitter of 99": ("jitter = [0.1, 99]", "jitter = 99"),
    "crops of nothing": ("crop_min = { low = 0.0, high = 0.5 }", "crop_min = 0.0"),
    "overlap of everything": ("overlap = 1.0", "overlap = 1.0"),
    "temperature of zero": ("temperature = 0", "temperature = 0"),
    "a temperature beyond numbers": ("temperature = 99999999999999999999", "temperature = 99999999999999999999"),
    "truth in a choice": ("lr = [true]", "simclr.lr = True"),
    "nothing to choose": ("hidden = []", "simclr.hidden"),
    "a huge layer": ("hidden = 100000000", "hidden = 100000000"),
    "a number with 400 digits": (f"lr = {'9' * 400}", "more than 60 digits"),
    "a number with 5,000 digits": (f"lr = {'9' * 5000}", "cannot be read"),
    "a prior of another type": ("prior = [{ batch_size = 64.0 }]\nbatch_size = [32, 64]", "batch_size = 64.0"),
    "a true prior": ("prior = [{ lr = true }]\nlr = { low = 0.1, high = 1.0 }", "simclr.lr = True"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_value_of_another_type_or_outside_its_range_is_refused(case: str, tmp_path: Path) -> None:
    line, named = WRONG[case]
    path = tmp_path / "space.toml"
    path.write_text(f"[simclr]\n{line}\n")
    with pytest.raises(UserError) as refused:
        read_space(str(path))
    assert named in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400 + len(str(path))


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ("[cnn_mae]\nskips = 1", "skips = 1"),
        ("[cnn_mae]\nratio = 1.0", "ratio = 1.0"),
        ("[hybrid]\nfirst = 'hybrid'", "first = 'hybrid'"),
        ("[hybrid]\nsecond = ['cnn_mae', 3]", "second = 3"),
        ("[hybrid]\nweight = 1.5", "weight = 1.5"),
        ("[patient_positives]\nbase = 'mae'", "base = 'mae'"),
        ("[byol]\nteacher_rate = 1.5", "teacher_rate = 1.5"),
        ("[volume_fusion]\nboxes = 53", "boxes = 53"),
    ],
)
def test_what_only_some_methods_take(table: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(table)
    with pytest.raises(UserError, match=named):
        read_space(str(tmp_path / "s.toml"))


@pytest.mark.parametrize("name", METHODS)
def test_defaults_and_only_their_types_are_taken(name: str) -> None:
    """The table of ranges agrees with every signature, and leaves no keyword without a kind."""
    own = inspect.signature(METHODS[name].__init__).parameters.values()
    for argument in own:
        if argument.name in GIVEN:
            continue
        kind = kinds(name)[argument.name]
        assert kind.takes(argument.default), argument
        assert not kind.takes(None)
        assert not kind.takes("no such word")
        assert not kind.takes(float("nan"))
        assert kind.takes(True) == (argument.annotation is bool)
        assert kind.takes(2.5) <= (argument.annotation is float)


SPACE = """
[simclr]
temperature = { low = 0.1, high = 1.0 }
lr = { low = 1e-4, high = 1e-2, log = true }
hidden = [32, 64]
batch_size = 64
[denoising]
batch_size = 64
"""


def test_without_priors_values_are_drawn(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SPACE)
    space = read_space(str(tmp_path / "s.toml"))
    assert space["simclr"].priors == ({},)
    study, drawn = optuna.create_study(), []
    for number in range(6):
        study.sampler = sampler(0, number)
        study.enqueue_trial(as_trial("simclr", space["simclr"].priors[0]))
        trial = study.ask()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            method, found = suggest(trial, space)
        assert method == "simclr"
        for key, domain in space["simclr"].searched.items():
            assert domain.holds(found[key]) if isinstance(domain, Range) else found[key] in domain
        drawn.append(found["lr"])
        study.tell(trial, float(number))
    assert len(set(drawn)) == 6


def test_a_method_all_of_whose_priors_are_struck_out_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        "[hybrid]\nprior = [{ second = 'colourisation' }]\nsecond = ['colourisation', 'denoising']\n"
    )
    kept, _ = served(read_space(str(tmp_path / "s.toml")), frozenset({"colour"}))
    assert kept["hybrid"].searched["second"] == ("denoising",)
    assert kept["hybrid"].priors == ({},)


def test_a_worker_searches_in_a_space_without_priors(tmp_path: Path) -> None:
    rng, y = np.random.default_rng(0), np.arange(120) % 2
    images = np.clip(rng.normal(100 + 40 * y[:, None, None], 40, (120, 16, 16)), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "shades.npz", images=images, labels=y)
    (tmp_path / "s.toml").write_text(SPACE)
    context = opened(
        str(tmp_path / "shades.npz"), tmp_path / "run", 256, backbone="test_resnet", methods=["simclr", "denoising"],
        space=tmp_path / "s.toml",
    )  # fmt: skip
    context.remember(plan=replace(context.plan, max_candidates=3).to_dict())
    Worker(context, now=lambda: 0.0).work()
    trials = context.study.get_trials(deepcopy=False)
    found = [e for e in entries(trials) if e.state == "scored"]
    assert sorted({e.method for e in found}) == ["denoising", "simclr"]
    assert len({e.candidate for e in found}) == 3
    drawn = [trials[e.number].params["simclr.lr"] for e in found if e.method == "simclr"]
    assert len(set(drawn)) == len(drawn)
