"""What a user asks of a search: its keywords, their defaults, what each of them takes, and what cannot be together."""

from dataclasses import dataclass

from autossl.errors import UserError
from autossl.errors.keywords import (
    COLUMNS,
    DEVICE,
    DURATION,
    FLAG,
    NAMES,
    PATH,
    TEXT,
    WEIGHTS,
    WORDS,
    one_of,
    optional,
    whole,
)
from autossl.record.clock import seconds
from autossl.record.folder import existing
from autossl.record.offered import chosen_methods, task
from autossl.trials.limits import check_limit
from autossl.views.presets import preset

MOST_SEED = 2**32 - 1  # what NumPy's and Optuna's generators take
MOST_WORKERS = 1024
COUNT = optional(whole(1, wanted="a positive whole number", remedy="give 1 or more"))
KINDS = {  # what each keyword of a search takes, in Python and on the command line
    "task": TEXT,
    "label_column": optional(COLUMNS),
    "patient_column": optional(TEXT),
    "missing": optional(WORDS),
    "order": optional(WORDS),
    "degradation": optional(TEXT),
    "max_labels": COUNT,
    "metric": TEXT,
    "adaptation": one_of("auto", "frozen", "finetune"),
    "weights": WEIGHTS,
    "start": one_of("auto", "weights", "random"),
    "time_limit": DURATION,
    "max_candidates": COUNT,
    "space": PATH,
    "methods": NAMES,
    "backbone": TEXT,
    "image_size": whole(8, 1024, "auto", wanted="an image size between 8 and 1024 px", remedy="give 64, say, or auto"),
    "windows": one_of("auto", "always", "never"),
    "modality": TEXT,
    "out": optional(PATH),
    "storage": optional(TEXT),
    "workers": whole(1, MOST_WORKERS, "auto", wanted="a number of workers", remedy="give 1 or more, or auto"),
    "executor": one_of("local"),
    "device": DEVICE,
    "precision": one_of("auto", "fp32", "bf16"),
    "plan": optional(PATH),
    "seed": whole(0, MOST_SEED),
    "no_images": FLAG,
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What a user asked for; the words are the same in Python and on the command line."""

    task: str = "classification"
    label_column: str | None = None
    patient_column: str | None = None
    missing: str | None = None
    order: str | None = None
    degradation: str | None = None
    max_labels: int | None = None
    metric: str = "auto"
    adaptation: str = "auto"
    weights: str | tuple[str, ...] = "auto"
    start: str = "auto"
    time_limit: str | float | None = "8h"
    max_candidates: int | None = None
    space: str = "auto"
    methods: str | tuple[str, ...] = "all"
    backbone: str = "auto"
    image_size: int | str = "auto"
    windows: str = "auto"
    modality: str = "auto"
    out: str | None = None
    storage: str | None = None
    workers: int | str = "auto"
    executor: str = "local"
    device: str = "auto"
    precision: str = "auto"
    plan: str | None = None
    seed: int = 0
    no_images: bool = False

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            object.__setattr__(self, name, kind.take(_option(name), getattr(self, name)))

    @property
    def limit(self) -> float | None:
        """Seconds, or None; an earlier study is repeated without a limit."""
        return None if self.plan is not None else seconds(self.time_limit)


def check(asked: Asked) -> None:
    """Refuse what can be refused before any file is opened; UserError."""
    task(asked.task).check(asked.metric, asked.adaptation)
    limit = asked.limit
    check_limit(limit)
    if limit is None and asked.max_candidates is None and asked.plan is None:
        raise UserError("a study without a time limit must end somehow, found neither; give --max-candidates as well")
    if asked.storage is not None:
        raise UserError("a study in its folder was wanted, found --storage, which is not served yet; leave it out")
    if asked.start == "weights" and set(asked.weights) <= {"auto", "none"}:
        raise UserError("weights to start from were wanted, found --start weights alone; give --weights FILE as well")
    chosen_methods(asked.methods)
    if asked.modality != "auto":
        preset(asked.modality, channels=1)
    if asked.plan is not None:
        existing(asked.plan)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
