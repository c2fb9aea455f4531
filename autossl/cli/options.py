"""The options of `autossl search`: the keywords of the Python call and their defaults, as `Asked` has them, as text."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import click
from click.shell_completion import CompletionItem

from autossl.record.offered import methods, shipped_spaces, tasks, weights
from autossl.run.asked import Asked
from autossl.views.presets import modalities

# how a search runs, where and how long: all other options say what it makes of the data, and inspect takes them too
OF_RUNNING = frozenset(
    {
        "adaptation",
        "time_limit",
        "max_candidates",
        "out",
        "storage",
        "workers",
        "executor",
        "precision",
        "plan",
        "no_images",
    }
)
HIDDEN = frozenset({"storage"})
SEVERAL = frozenset({"weights"})  # may be given several times
HELP = {  # in the order of --help
    "task": f"What the encoder is for: {', '.join(tasks())}.",
    "unlabeled": "More images, without labels, in any supported form.",
    "labels": "CSV with image and label columns, for a folder of images.",
    "label_column": "Column of a CSV that holds the label, or several: a,b,c.",
    "patient_column": "Column of a CSV that holds the patient id, or none.",
    "missing": "Labels that mean none, comma between them.  [default: NA, nan, null, -1 ...]",
    "order": "Grades that are words, from the lowest to the highest: none,mild,severe.",
    "degradation": "Images are targets, and made worse so: noise:25, downsample:2 ...; see the README.",
    "max_labels": "Keep so many labels; all other images count as unlabelled.",
    "metric": "What is maximised; see list targets.",
    "adaptation": "How what is delivered may be made of an encoder.",
    "weights": "A file or folder, packaged:NAME or hub:NAME (several times); auto takes what is here; none.",
    "start": "What candidates start from.",
    "time_limit": "Hard: 45m, 8h, 1d, or none.",
    "max_candidates": "Try at most so many candidates.",
    "space": "A search space (TOML), or its name.",
    "methods": "Methods by name, comma between them; see list methods.",
    "backbone": "Any timm model, or a network for volumes; see list backbones.",
    "image_size": "Pixels a side.",
    "windows": "Whether images to be segmented are cut into windows of that size, never resized.",
    "modality": f"What the images are, and with it which views are made: {', '.join(modalities())}.",
    "out": "The study folder.  [default: runs/DATA-TASK]",
    "storage": "Database URL for workers on several machines; not served yet.",
    "workers": "Processes.",
    "executor": "Where workers run.",
    "device": "Where networks are trained.",
    "precision": "Of training.",
    "plan": "Repeat the plan of this earlier study.",
    "no_images": "Keep no picture with pixels of your images for the report.",
    "seed": "Everything random follows from it.",
}


class Listed(click.ParamType):  # type: ignore[type-arg]
    """A text for which shells offer values, and --help too where it takes no others (`only`).

    What it may be is said where the Python call is.
    """

    name = "text"

    def __init__(self, values: Callable[[], Mapping[str, str]], several: bool = False, only: bool = False) -> None:
        self.values, self.several, self.only = values, several, only

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return f"[{'|'.join(self.values())}]" if self.only else None

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, begun = incomplete.rpartition(",") if self.several else ("", "", incomplete)
        return [
            CompletionItem(before + comma + name, help=about)
            for name, about in self.values().items()
            if name.startswith(begun)
        ]


def _words(*names: str) -> Listed:
    return Listed(lambda: dict.fromkeys(names, ""), only=True)


def _metrics() -> dict[str, str]:
    every = dict.fromkeys((metric for task in tasks().values() for metric in task.metrics), "")
    return {"auto": "the first of the task", **every}


VALUES = {  # what shells offer, from the tables that hold it
    "task": Listed(lambda: {name: row.about for name, row in tasks().items()}),
    "metric": Listed(_metrics),
    "adaptation": _words("auto", "frozen", "finetune"),
    "weights": Listed(lambda: dict.fromkeys(("auto", "none", *weights()), "")),
    "start": _words("auto", "weights", "random"),
    "space": Listed(lambda: dict.fromkeys(("auto", *shipped_spaces()), "")),
    "methods": Listed(lambda: {"all": "", **{name: row.about for name, row in methods().items()}}, several=True),
    "modality": Listed(
        lambda: {"auto": "by the headers and channels", **{n: p.about for n, p in modalities().items()}}
    ),
    "executor": _words("local"),
    "device": _words("auto", "cpu", "cuda"),
    "precision": _words("auto", "fp32", "bf16"),
}


def search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command every keyword of `autossl.search` as an option."""
    defaults = {f.name: f.default for f in fields(Asked)}
    for name, text in reversed(HELP.items()):
        default, several, flag = defaults.get(name), name in SEVERAL, isinstance(defaults.get(name), bool)
        shown = None if default is None else (str(default),) if several else str(default)
        kind: dict[str, Any] = {"default": shown, "type": VALUES.get(name, str), "multiple": several}
        if flag:
            kind = {"is_flag": True, "default": False}
        command = click.option(
            f"--{name.replace('_', '-')}", **kind, show_default=default is not None and not flag, hidden=name in HIDDEN,
            help=text,
        )(command)  # fmt: skip
    return command
