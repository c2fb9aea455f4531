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
    no_images: bool = False,
) -> Study:
    """Search the self-supervised method that serves `data` and `task` best, train it, test it once, export it.

    The study is a folder; calling again with the same settings goes on with it.

    What is searched on:
      `data`: a path (MedMNIST-layout .npz, folder of class folders, of DICOM, of images and masks; CSV manifest),
        "sample:cells", "sample:volumes", "medmnist:NAME", an array (n, h, w[, c]) or (n, d, h, w[, c]), or a torch
        Dataset of (image, label).
      `task`: classification, regression (numbers), ordinal (grades), multilabel (several findings, 0 or 1, or a|b),
        segmentation, detection, reconstruction, retrieval, or none (no labels at all).
      `unlabeled`: more images, without labels, in any of these forms.
      `labels`: of arrays (n,), of several columns (n, t), masks (n, h, w), target images, or boxes; of a folder a CSV.
      `patients`: ids (n,) of arrays and torch data sets: images of one patient stay in one part.
      `label_column`, `patient_column`: columns of a CSV (labels also several, "a,b,c"); None finds them by name.
      `missing`: labels that mean that there is none, "none,unknown"; None: NA, nan, null, -1 and the like.
      `order`: grades that are words, ascending: "none,mild,severe".
      `degradation`: "noise:25", "downsample:2" ...: makes images worse, which are then their own targets.
      `max_labels`: keep so many labels; all other images count as unlabelled.
      `modality`: what the images are (`autossl list modalities`), and with it which views are made of them.

    What is sought:
      `metric`: what is maximised and reported first; "auto" is the first of the task (`autossl list targets`).
      `adaptation`: "frozen", "finetune" or "auto": how what is delivered may be made of an encoder.
      `weights`: one or several: files (safetensors or a torch state dict), exported encoders, packaged:NAME, or
        hub:NAME, which is downloaded unless it is cached (`autossl list weights`). They are looked at first, in several
        input sizes, by the normalisation of the data and by their own; the best are judged as they are and fine-tuned.
        "auto" takes those that are on this machine, None or "none" none.
      `start`: "weights", "random" or "auto": whether candidates begin from given weights. Untrained encoder and
        supervised training always start from random ones.
      `methods`: "all", or names, "simclr,vicreg" or a list (`autossl list methods`).
      `space`: a search space (TOML file), or "auto".
      `backbone`: of random weights, and of files that do not say of which network they are.
      `image_size`: pixels or voxels a side; "auto" takes that of the images, as far as is usual.
      `windows`: "always", "never" or "auto": whether images to be segmented are cut into windows of `image_size` at
        their own resolution; "auto" does so where whole images of that size would lose what masks show.

    How:
      `time_limit`: "45m", "8h", seconds, or None with `max_candidates`; hard, and counts from this call.
      `max_candidates`: try at most so many.
      `out`: the study's folder; None: runs/DATA-TASK.
      `workers`: processes; "auto" is one on a CPU, one for each GPU.
      `device`: "auto", "cpu" or "cuda".
      `precision`: of training; "auto" is bf16 where the device computes with it. Embeddings are always fp32.
      `plan`: the folder of an earlier study whose plan is repeated, without a clock.
      `seed`: everything random follows from it.
      `no_images`: keep no picture with pixels of the images for the report.
      `storage`, `executor`: for workers on several machines; not served yet.

    Raises UserError for bad input, NoCandidate if nothing usable came out, MachineStopped if the disk or the storage
    failed (the study can be resumed).
    """
    given: dict[str, Any] = dict(
        task=task, label_column=label_column, patient_column=patient_column, missing=missing, order=order,
        degradation=degradation, max_labels=max_labels,
        metric=metric, adaptation=adaptation, weights=weights, start=start, time_limit=time_limit,
        max_candidates=max_candidates, space=space, methods=methods, backbone=backbone, image_size=image_size,
        windows=windows, modality=modality, out=out, storage=storage, workers=workers, executor=executor, device=device,
        precision=precision, plan=plan, seed=seed, no_images=no_images,
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
