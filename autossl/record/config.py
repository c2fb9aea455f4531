"""The settings of a study, resolved: one record, which this file alone reads from and writes to config.toml."""

from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from autossl.record.folder import read_toml, write_toml

COMMENT = "The settings of this AutoSSL study, resolved."


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Every setting of a study, with nothing left to guess; in the file they stand in this order.

    Settings that a study may not have written down, earlier ones above all, have a default.
    """

    data: str | None = None  # a path, a sample's name, or <the type> of what was given in memory
    unlabeled: str | None = None
    labels: str | None = None
    task: str = "classification"
    label_column: str | None = None
    patient_column: str | None = None
    missing: str | None = None
    order: str | None = None
    degradation: str | None = None  # what made images of their targets, as it was asked for
    max_labels: int | None = None
    metric: str = "auto"
    adaptation: str
    weights: tuple[str, ...] = ("none",)  # as they were asked for; paths are whole
    start: str | None = None  # where candidates begin: "auto", "weights" or "random"; None without weights
    time_limit: float | None  # seconds; in the file "none" for None
    max_candidates: int | None = None
    space: str
    backbone: str
    image_size: int  # pixels or voxels a side
    windows: str | None = None  # "always" where images are cut into windows of that size, none resized
    modality: str
    workers: int
    executor: str = "local"
    device: str
    precision: str
    seed: int
    no_images: bool = False  # whether no picture with pixels of the images is kept for the report
    weights_sha256: tuple[str, ...] = ()  # of each of the given ones
    given: tuple[dict[str, Any], ...] = ()  # what is known of each: name, file, backbone, size, mean, sd, licence ...
    methods: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict[str, str])  # methods, and why
    lacks: tuple[str, ...] = ()  # what methods may need and these images or this backbone do not have
    model_args: dict[str, Any] = field(default_factory=dict[str, Any])
    upsample: int = 1
    study_name: str
    version: str = ""

    @property
    def gpus(self) -> int:
        """How many GPUs it may use at a time."""
        return self.workers if self.device.startswith("cuda") else 0

    @property
    def options(self) -> dict[str, Any]:
        """The settings by name, as the file holds them; None is left out there."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        return {**plain, "time_limit": "none" if self.time_limit is None else self.time_limit}


def read_config(path: Path) -> StudyConfig:
    """The settings in this file. Raises `Damaged`, also for one that every study has and this one has not."""
    stored = read_settings(path)
    known = [f.name for f in fields(StudyConfig) if f.name in stored or _is_needed(f)]
    found: dict[str, Any] = {name: tuple(v) if isinstance(v := stored[name], list) else v for name in known}
    return StudyConfig(**{**found, "time_limit": None if found["time_limit"] == "none" else found["time_limit"]})


def read_settings(path: Path) -> dict[str, Any]:
    """All that the file holds, as it is written today: earlier studies have weights of one file, or do not say so."""
    stored = read_toml(path)
    file = stored.get("weights")
    if file is None and stored:
        stored["weights"] = ["none"]
    if not isinstance(file, str):
        return stored
    facts = {
        name: stored.get(name, default) for name, default in (("backbone", ""), ("model_args", {}), ("upsample", 1))
    }
    facts |= {"name": Path(file).name, "file": file}
    if (licence := stored.pop("weights_licence", None)) is not None:
        facts["licence"] = licence
    # in place: what is missing in this table is said by itself
    stored |= {"weights": [file], "weights_sha256": [stored.get("weights_sha256", "")], "given": [facts]}
    return stored


def _is_needed(setting: Field[Any]) -> bool:
    return setting.default is MISSING and setting.default_factory is MISSING


def write_config(path: Path, config: StudyConfig) -> None:
    """Write the settings of a study, whole or not at all."""
    write_toml(path, config.options, COMMENT)
