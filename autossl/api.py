"""The Python call: search, resume, load."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from autossl.model.load import load as load_model
from autossl.model.model import Model
from autossl.run import controller
from autossl.run.asked import Asked
from autossl.study import Study


def search(
    data: Any,
    task: str = "classification",
    *,
    unlabeled: Any = None,
    labels: Any = None,
    patients: Any = None,
    label_column: str | list[str] | None = None,
    patient_column: str | None = None,
    missing: str | list[str] | None = None,
    order: str | list[str] | None = None,
    degradation: str | None = None,
    max_labels: int | None = None,
    metric: str = "auto",
    adaptation: str = "auto",
    weights: str | Path | Sequence[str | Path] | None = "auto",
    start: str = "auto",
    time_limit: str | float | timedelta | None = "8h",
    max_candidates: int | None = None,
    space: str | Path = "auto",
    methods: str | Sequence[str] = "all",
    backbone: str = "auto",
    image_size: int | str = "auto",
    windows: str = "auto",
    modality: str = "auto",
    out: str | Path | None = None,
    storage: str | None = None,
    workers: int | str = "auto",
    executor: str = "local",
    device: str | torch.device = "auto",
    precision: str = "auto",
    plan: str | Path | None = None,
    seed: int = 0,
) -> Study:
    """Search the self-supervised method that serves `data` and `task` best, train it, test it once, export it.

    `data` is a path (MedMNIST-layout .npz, folder of class folders, CSV manifest), "sample:cells", "medmnist:NAME",
    an array (n, h, w[, c]) with `labels` (n,), or a torch Dataset of (image, label); both take `patients` (n,), the
    patient ids that keep the images of one patient in one part. `unlabeled` adds images without labels. `missing`
    ("none,unknown") names the labels that mean that there is none, `order` grades that are words, ascending. `task` is
    classification, regression (numbers), ordinal (grades) or multilabel (several findings, 0 or 1, or a|b); labels of
    several columns are (n, t), or `label_column="a,b,c"`. Segmentation takes masks (n, h, w) as labels, reconstruction
    target images, or `degradation` ("noise:25", "downsample:2"), which makes images worse and them their own targets.
    `windows` ("always", "never") says whether images to be segmented are cut into windows of `image_size` at their own
    resolution; "auto" does so where whole images of that size would lose what masks show.
    `time_limit` ("45m", "8h", seconds, or None with `max_candidates`) is hard and counts from this call.
    `weights` (one or a list: safetensors or a torch state dict, an exported encoder, packaged:NAME, or hub:NAME, which
    is downloaded unless it is cached; see `autossl list weights`) are looked at first, in several input sizes, by the
    normalisation of the data and by their own; "auto" takes those that are on this machine, "none" none. The best are
    judged as they are and fine-tuned, and candidates begin from them where they score above random weights and there is
    time for it; `start="weights"` or "random" decides that. `backbone` is that of random weights, and of files that do
    not say of which network they are. Untrained encoder and supervised training always start from random weights.
    `precision` is that of training ("auto": bf16 where the device computes with it); embeddings are always fp32.
    The study is a folder (`out`); calling again with the same settings goes on with it. `plan` repeats the plan of
    an earlier study folder.

    Raises UserError for bad input, NoCandidate if nothing usable came out, MachineStopped if the disk or the storage
    failed (the study can be resumed).
    """
    given: dict[str, Any] = dict(
        task=task, label_column=label_column, patient_column=patient_column, missing=missing, order=order,
        degradation=degradation, max_labels=max_labels,
        metric=metric, adaptation=adaptation, weights=weights, start=start, time_limit=time_limit,
        max_candidates=max_candidates, space=space, methods=methods, backbone=backbone, image_size=image_size,
        windows=windows, modality=modality, out=out, storage=storage, workers=workers, executor=executor, device=device,
        precision=precision, plan=plan, seed=seed,
    )  # fmt: skip
    folder = controller.start(data, Asked(**given), unlabeled=unlabeled, labels=labels, patients=patients)
    return Study(folder.root)


def resume(path: str | Path, time_limit: str | float | timedelta | None = None) -> Study:
    """Go on with a killed study; `time_limit` "+1h" adds time, "2h" replaces the limit, also of a finished study."""
    return Study(controller.resume(path, time_limit).root)


def load(path: str | Path) -> Model:
    """An exported encoder, or that of a study folder, in evaluation mode on the CPU.

    Called on standardised tensors (b, c, h, w) it equals the timm model; `embed` takes pixels (n, h, w, c).
    Raises UserError if there is none at `path`.
    """
    return load_model(path)
