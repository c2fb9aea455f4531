"""The options of `autossl search`: the keywords of the Python call, as text; `settings.KINDS` says what they take."""

from collections.abc import Callable
from typing import Any

import click

# how a search runs, where and how long: all other options say what it makes of the data, and inspect takes them too
OF_RUNNING = frozenset(
    {"adaptation", "time_limit", "max_candidates", "out", "storage", "workers", "executor", "precision", "plan"}
)


def search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command every keyword of `autossl.search` as an option."""
    options = [
        click.option(
            "--task", default="classification", show_default=True, help="What the encoder is for; see list targets."
        ),
        click.option("--unlabeled", help="More images, without labels, in any supported form."),
        click.option("--labels", help="CSV with image and label columns, for a folder of images."),
        click.option("--label-column", help="Column of a CSV that holds the label, or several: a,b,c."),
        click.option("--patient-column", help="Column of a CSV that holds the patient id, or none."),
        click.option("--missing", help="Labels that mean none, comma between them.  [default: NA, nan, null, -1 ...]"),
        click.option("--order", help="Grades that are words, from the lowest to the highest: none,mild,severe."),
        click.option("--max-labels", help="Keep so many labels; all other images count as unlabelled."),
        click.option("--metric", default="auto", show_default=True, help="What is maximised; see list targets."),
        click.option("--adaptation", default="auto", show_default=True, help="frozen, finetune or auto."),
        click.option("--weights", help="Your own weights for the backbone: a baseline, and where candidates start."),
        click.option(
            "--start", default="auto", show_default=True, help="Candidates start from: weights, random or auto."
        ),
        click.option("--time-limit", default="8h", show_default=True, help="Hard: 45m, 8h, 1d, or none."),
        click.option("--max-candidates", help="Try at most so many candidates."),
        click.option("--space", default="auto", show_default=True, help="A search space (TOML)."),
        click.option("--methods", default="all", show_default=True, help="Methods by name, comma between them."),
        click.option("--backbone", default="auto", show_default=True, help="Any timm model."),
        click.option("--image-size", default="auto", show_default=True, help="Pixels a side."),
        click.option("--modality", default="auto", show_default=True, help="Preset of views: microscopy, xray, ..."),
        click.option("--out", help="The study folder.  [default: runs/DATA-TASK]"),
        click.option("--storage", hidden=True, help="Database URL for workers on several machines; not served yet."),
        click.option("--workers", default="auto", show_default=True, help="Processes."),
        click.option("--executor", default="local", show_default=True, help="Where workers run."),
        click.option("--device", default="auto", show_default=True, help="cpu or cuda."),
        click.option("--precision", default="auto", show_default=True, help="Of training: fp32 or bf16."),
        click.option("--plan", help="Repeat the plan of this earlier study."),
        click.option("--seed", default="0", show_default=True, help="Everything random follows from it."),
    ]
    for option in reversed(options):
        command = option(command)
    return command
