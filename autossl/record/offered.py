"""Targets and methods as tables of facts: what is told of them, and refused, before torch has been imported."""

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from autossl.errors import UserError

FOLDER = resources.files("autossl") / "search_spaces"
OTHERS = ("methods", "modalities", "starts", "targets", "timm", "weights")  # tables beside the search spaces


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the target of this name says of itself; see `autossl.targets.Target`."""

    name: str
    about: str
    form: str  # of its labels: a key of data.truth.FORMS
    metrics: tuple[str, ...]
    headings: Mapping[str, str]
    figure: str
    scored: str
    ranks: bool
    curved: bool
    shown: tuple[str, ...]  # keys in a trial

    def check(self, metric: str, adaptation: str) -> None:
        """UserError for a metric that is none of its own, and for training on labels where it has none."""
        check_metric(self.name, self.metrics, metric)
        if adaptation == "finetune" and not self.metrics:
            raise UserError(
                f"a task with labels was wanted, found --adaptation {adaptation} with --task {self.name}; leave it out"
            )


@dataclass(frozen=True, kw_only=True)
class Method:
    """What the pretext method of this name says of itself; see `autossl.pretext.Pretext`."""

    name: str
    about: str
    paradigm: str
    dims: tuple[int, ...]
    passes: float
    needs: tuple[str, ...]
    paper: str


@cache
def tasks() -> dict[str, Task]:
    """The targets by name."""
    return {name: Task(name=name, **facts) for name, facts in _table("targets").items()}


@cache
def methods() -> dict[str, Method]:
    """The methods by name."""
    return {name: Method(name=name, **facts) for name, facts in _table("methods").items()}


def weights() -> list[str]:
    """The names of known weights (`autossl.nn.weights` has the rows)."""
    return list(_table("weights"))


def shipped_spaces() -> list[str]:
    """Names of the search spaces that come with AutoSSL."""
    names = (entry.name.removesuffix(".toml") for entry in FOLDER.iterdir() if entry.name.endswith(".toml"))
    return sorted(name for name in names if name not in OTHERS)


def shipped(name: str) -> bytes:
    """The text of one of them, or of a table beside them."""
    return FOLDER.joinpath(f"{name}.toml").read_bytes()


def _table(name: str) -> dict[str, dict[str, Any]]:
    return {
        row: {fact: tuple(value) if isinstance(value, list) else value for fact, value in facts.items()}
        for row, facts in tomllib.loads(shipped(name).decode()).items()
    }


def task(name: str) -> Task:
    """The target of this name; UserError if there is none."""
    if name not in tasks():
        raise UserError(
            f"a task that this version serves was wanted ({', '.join(tasks())}), found --task {name!r}; choose one"
        )
    return tasks()[name]


def check_metric(name: str, metrics: tuple[str, ...], metric: str) -> None:
    """UserError for a metric that is not among those of the task of this name."""
    if metric != "auto" and metric not in metrics:
        raise UserError(
            f"a metric of {name} was wanted ({', '.join((*metrics, 'auto'))}), found --metric {metric!r}; "
            "choose one of these"
        )


def method_names() -> tuple[str, ...]:
    """Methods by name: those of the table, and what a caller of this process has added to `autossl.pretext.METHODS`."""
    added = getattr(sys.modules.get("autossl.pretext"), "METHODS", {})
    return tuple(dict.fromkeys((*methods(), *added)))


def chosen_methods(names: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Methods by name ("all", "simclr,byol" or a list); UserError for an unknown one."""
    if names == "all":
        return method_names()
    listed = names.split(",") if isinstance(names, str) else names
    chosen = tuple(dict.fromkeys(name.strip() for name in listed))
    known = method_names()
    for name in chosen:
        if name not in known:
            raise UserError(f"a method was wanted ({', '.join(known)}), found --methods {name!r}; choose from these")
    return chosen
