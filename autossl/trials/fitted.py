"""A search space fitted to a study: without what its images and encoders cannot serve, its priors at home there."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from autossl.pretext import METHODS
from autossl.pretext.needs import OF_ENCODERS
from autossl.record.config import StudyConfig
from autossl.trials.space import MethodSpace, Range, Space, read_space, shipped_spaces
from autossl.views.presets import Preset

T = TypeVar("T")
RATE, GENTLE = "lr", 0.3  # what trains on from given weights has so much of the rate that random ones have
WORDS = {"patients": "patients with several images", "order": "known order of slices"}  # of needs to be explained
FLAT, VOLUMES_ONLY = "two dimensions", "three dimensions"  # what methods need that take only the one or the other


def fitted(config: StudyConfig, preset: Preset, given: bool) -> Space:
    """The search space of a study; a shipped one begins at the modality's jitter, and gently from `given` weights."""
    whole, _ = served(read_space(config.space), frozenset(config.lacks))
    if config.space == "auto" or config.space in shipped_spaces():
        whole = at_jitter(whole, preset.first_jitter)
        whole = gentler(whole) if given else whole
    return {name: table for name, table in whole.items() if name in config.methods}


def at_jitter(space: Space, jitter: float | None) -> Space:
    """The same space, its priors at this jitter where they have one and its range holds it; None changes nothing."""
    if jitter is None:
        return space

    def moved(table: MethodSpace, prior: dict[str, Any]) -> dict[str, Any]:
        domain = table.searched.get("jitter")
        return {**prior, "jitter": jitter} if isinstance(domain, Range) and domain.holds(jitter) else prior

    return {name: replace(table, priors=tuple(moved(table, p) for p in table.priors)) for name, table in space.items()}


def gentler(space: Space) -> Space:
    """The same space for encoders that begin from given weights: with a share of the learning rate, also in priors."""

    def slower(table: MethodSpace) -> MethodSpace:
        domain = table.searched.get(RATE)
        searched = table.searched
        if isinstance(domain, Range):
            searched = {**searched, RATE: Range(GENTLE * domain.low, GENTLE * domain.high, domain.log)}
        elif domain is not None:
            searched = {**searched, RATE: tuple(GENTLE * rate for rate in domain)}
        priors = tuple(_scaled(prior) for prior in table.priors)
        return MethodSpace(searched, _scaled(table.fixed), priors)

    return {name: slower(table) for name, table in space.items()}


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


def _without(table: Mapping[str, T], keys: frozenset[str]) -> dict[str, T]:
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
