"""The options of `autossl search`: the keywords of the Python call and their defaults, as `Asked` has them, as text."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from autossl.run.asked import Asked

# how a search runs, where and how long: all other options say what it makes of the data, and inspect takes them too
OF_RUNNING = frozenset(
    {"adaptation", "time_limit", "max_candidates", "out", "storage", "workers", "executor", "precision", "plan"}
)
HIDDEN = frozenset({"storage"})
SEVERAL = frozenset({"weights"})  # may be given several times
HELP = {  # in the order of --help
    "task": "What the encoder is for; see list targets.",
    "unlabeled": "More images, without labels, in any supported form.",
    "labels": "CSV with image and label columns, for a folder of images.",
    "label_column": "Column of a CSV that holds the label, or several: a,b,c.",
    "patient_column": "Column of a CSV that holds the patient id, or none.",
    "missing": "Labels that mean none, comma between them.  [default: NA, nan, null, -1 ...]",
    "order": "Grades that are words, from the lowest to the highest: none,mild,severe.",
    "degradation": "Images are targets, and made worse so: noise:25, downsample:2 ...; see the README.",
    "max_labels": "Keep so many labels; all other images count as unlabelled.",
    "metric": "What is maximised; see list targets.",
    "adaptation": "frozen, finetune or auto.",
    "weights": "A file or folder, packaged:NAME or hub:NAME (several times); auto takes what is here; none.",
    "start": "Candidates start from: weights, random or auto.",
    "time_limit": "Hard: 45m, 8h, 1d, or none.",
    "max_candidates": "Try at most so many candidates.",
    "space": "A search space (TOML).",
    "methods": "Methods by name, comma between them.",
    "backbone": "Any timm model.",
    "image_size": "Pixels a side.",
    "windows": "Cut images into windows of that size, never resized (segmentation): always, never or auto.",
    "modality": "Preset of views: microscopy, xray, ...",
    "out": "The study folder.  [default: runs/DATA-TASK]",
    "storage": "Database URL for workers on several machines; not served yet.",
    "workers": "Processes.",
    "executor": "Where workers run.",
    "device": "cpu or cuda.",
    "precision": "Of training: fp32 or bf16.",
    "plan": "Repeat the plan of this earlier study.",
    "seed": "Everything random follows from it.",
}


def search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command every keyword of `autossl.search` as an option."""
    defaults = {f.name: f.default for f in fields(Asked)}
    for name, text in reversed(HELP.items()):
        default, several = defaults.get(name), name in SEVERAL
        shown = None if default is None else (str(default),) if several else str(default)
        command = click.option(
            f"--{name.replace('_', '-')}", default=shown, show_default=default is not None, hidden=name in HIDDEN,
            multiple=several, help=text,
        )(command)  # fmt: skip
    return command
