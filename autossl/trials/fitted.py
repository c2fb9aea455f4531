"""A search space fitted to a study: without what its images and encoders cannot serve, its priors at home there."""

import tomllib
from collections.abc import Mapping, Set
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from autossl.pretext import METHODS
from autossl.pretext.needs import OF_ENCODERS
from autossl.record.config import StudyConfig
from autossl.record.offered import shipped_spaces
from autossl.trials.space import MethodSpace, Range, Space, read_space
from autossl.trials.starts import Start
from autossl.trials.tolerance import CROP, Tolerance
from autossl.views.presets import Preset

T = TypeVar("T")
RATE, GENTLE = "lr", 0.3  # what trains on from given weights has so much of the rate that random ones have
DECAY, TRAINED = "layer_decay", "trained"
UNKNOWN = "unknown"  # the objective of weights that do not say theirs
WORDS = {"patients": "patients with several images", "order": "known order of slices"}  # of needs to be explained
FLAT, VOLUMES_ONLY = "two dimensions", "three dimensions"  # what methods need that take only the one or the other


def fitted(config: StudyConfig, preset: Preset, start: Start, tolerance: Tolerance) -> Space:
    """The search space of a study whose candidates begin from this start.

    A shipped one begins at the modality's jitter and with crops that the labels tolerate. From given weights it has
    gentle rates, which fall towards the first layer where that is usual, and what of them is trained is searched too.
    """
    whole, _ = served(read_space(config.space), frozenset(config.lacks))
    if config.space == "auto" or config.space in shipped_spaces():
        whole = tolerated(at_jitter(whole, preset.first_jitter), tolerance)
        whole = in_parts(gentler(whole, start.layer_decay), start.trained) if start.given else whole
    whole = offering(whole, start.trained)
    return {name: table for name, table in whole.items() if name in config.methods}


def at_jitter(space: Space, jitter: float | None) -> Space:
    """The same space, its priors at this jitter where they have one and its range holds it; None changes nothing."""
    if jitter is None:
        return space

    def moved(table: MethodSpace, prior: dict[str, Any]) -> dict[str, Any]:
        domain = table.searched.get("jitter")
        return {**prior, "jitter": jitter} if isinstance(domain, Range) and domain.holds(jitter) else prior

    return {name: replace(table, priors=tuple(moved(table, p) for p in table.priors)) for name, table in space.items()}


def tolerated(space: Space, tolerance: Tolerance) -> Space:
    """The same space, the first prior of each method before crops that clearly cost labels; nothing is forbidden."""
    mild = tolerance.mild(CROP)
    if mild is None:
        return space

    def begun(table: MethodSpace) -> MethodSpace:
        domain, (first, *others) = table.searched.get(CROP), table.priors
        if not isinstance(domain, Range) or CROP not in first:
            return table
        milder = min(domain.high, max(first[CROP], mild))
        return replace(table, priors=({**first, CROP: milder}, *others))

    return {name: begun(table) for name, table in space.items()}


def gentler(space: Space, decay: float = 1.0) -> Space:
    """The same space for encoders that begin from given weights: with a share of the learning rate, also in priors.

    Where it says nothing of it, the rate of a layer is that of the one after it times the `decay`.
    """

    def slower(table: MethodSpace) -> MethodSpace:
        domain = table.searched.get(RATE)
        falling = {} if decay == 1 or DECAY in table.searched else {DECAY: decay}
        searched = table.searched
        if isinstance(domain, Range):
            searched = {**searched, RATE: Range(GENTLE * domain.low, GENTLE * domain.high, domain.log)}
        elif domain is not None:
            searched = {**searched, RATE: tuple(GENTLE * rate for rate in domain)}
        priors = tuple(_scaled(prior) for prior in table.priors)
        return MethodSpace(searched, {**falling, **_scaled(table.fixed)}, priors)

    return {name: slower(table) for name, table in space.items()}


def in_parts(space: Space, parts: tuple[str, ...]) -> Space:
    """The same space with a choice of what is trained, in methods that say nothing of it; priors take them in turn."""

    def chosen(table: MethodSpace) -> MethodSpace:
        if len(parts) < 2 or TRAINED in table.searched or TRAINED in table.fixed:
            return table
        priors = tuple({**prior, TRAINED: parts[at % len(parts)]} for at, prior in enumerate(table.priors))
        return MethodSpace({**table.searched, TRAINED: parts}, table.fixed, priors)

    return {name: chosen(table) for name, table in space.items()}


def offering(space: Space, parts: tuple[str, ...]) -> Space:
    """The same space without what cannot be trained apart of the encoders of a study; else all of them is trained.

    That is everything for random weights, whose frozen layers would know nothing.
    """

    def kept(table: MethodSpace) -> MethodSpace:
        fit = tuple(part for part in table.searched.get(TRAINED, ()) if part in parts)  # type: ignore[union-attr]
        fixed = table.fixed if table.fixed.get(TRAINED) in parts else _without(table.fixed, {TRAINED})
        if fit:
            priors = tuple(p for p in table.priors if p.get(TRAINED, fit[0]) in fit)
            return MethodSpace({**table.searched, TRAINED: fit}, fixed, priors)
        return MethodSpace(
            _without(table.searched, {TRAINED}), fixed, tuple(_without(p, {TRAINED}) for p in table.priors)
        )

    return {name: kept(table) for name, table in space.items()}


def late_from(given: Mapping[str, Any] | None) -> frozenset[str]:
    """Methods that are tried after all others where candidates begin from these given weights (None: from random ones).

    Which those are is said in search_spaces/starts.toml.
    """
    if given is None:
        return frozenset()
    objective = given.get("objective", UNKNOWN)
    rows = [row for row in _late() if objective in row["from"]]
    return frozenset(name for row in rows for name in row["methods"])


@cache
def _late() -> list[dict[str, Any]]:
    text = resources.files("autossl").joinpath("search_spaces/starts.toml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = tomllib.loads(text)["late"]
    return rows


def _scaled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: GENTLE * value if key == RATE else value for key, value in values.items()}


def served(space: Space, lacks: frozenset[str]) -> tuple[Space, dict[str, str]]:
    """What images and an encoder that lack these things can be searched with, and why other methods are left out.

    Choices of a part (`Pretext.parts`) that needs what is lacking are struck out, and the priors that make them. What
    has no effect on images (`Pretext.of_volumes`) is not searched for them.
    """
    kept: Space = {}
    left_out: dict[str, str] = {}
    for name, table in space.items():
        missing = _needs(name) & lacks
        searched = dict(table.searched)
        for key in METHODS[name].parts:
            named = searched.get(key, (table.fixed[key],) if key in table.fixed else ())
            assert not isinstance(named, Range)
            fit = tuple(part for part in named if part not in METHODS or not _needs(part) & lacks)
            if named and not fit:
                missing |= frozenset().union(*(_needs(part) for part in named)) & lacks
            elif key in searched:
                searched[key] = fit
        if missing:
            left_out[name] = _why(missing)
        else:
            parts = [key for key in METHODS[name].parts if key in searched]
            priors = tuple(p for p in table.priors if all(p[key] in searched[key] for key in parts if key in p))  # type: ignore[operator]
            idle = METHODS[name].of_volumes if VOLUMES_ONLY in lacks else frozenset()
            kept[name] = MethodSpace(_without(searched, idle), table.fixed, tuple(_without(p, idle) for p in priors))
    return kept, left_out


def _without(table: Mapping[str, T], keys: Set[str]) -> dict[str, T]:
    return {key: value for key, value in table.items() if key not in keys}


def _needs(method: str) -> frozenset[str]:
    """What a method needs of images and encoder, their dimensions included."""
    cls = METHODS[method]
    return cls.needs | {word for word, dims in ((FLAT, {2}), (VOLUMES_ONLY, {3})) if cls.dims == dims}


def _why(missing: frozenset[str]) -> str:
    """Why a method is left out, in words."""
    if FLAT in missing:
        return "it is not for volumes"
    if VOLUMES_ONLY in missing:
        return "it is for volumes only"
    who = "this encoder has" if missing <= OF_ENCODERS else "these images have"
    return f"{who} no {' and no '.join(WORDS.get(m, m) for m in sorted(missing))}"
