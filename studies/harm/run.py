"""Do views on which the labels can no longer be told make worse encoders? Asked before and after training.

    python -m studies.harm.run DATA_FOLDER WORK_FOLDER [--sets cells pneumonia ...]

DATA_FOLDER holds the public sets by name; run from the top of a checkout. For each set a method is trained at every
jitter and smallest crop on as many images, and what its encoders score on the labels of the probe part, for each
target of the set, is the truth. Beside it stands what LABELS of them say before any training, by an untrained encoder:
`views` is the score of views when views of other patients were learnt from, `moved` that of views when images as they
are were. Both are differences to the score of images as they are. Rows are kept as they come.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autossl.data import PROBE
from autossl.finish.baselines import UNTRAINED_SEED
from autossl.nn.encoder import Encoder
from autossl.nn.sight import PLAIN, looked
from autossl.proxies import Outcomes
from autossl.targets import Seen
from autossl.train.loop import train
from autossl.trials.context import Context
from autossl.trials.segments import new_run
from autossl.views.volumes import views_for
from studies.opened import first_prior, opened
from studies.rows import Rows
from studies.targets.manifests import SETS as MANIFESTS
from studies.targets.manifests import write as write_manifest

HERE = Path(__file__).parent
JITTERS, CROPS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8), (0.15, 0.3, 0.5, 0.8)
METHOD, IMAGES, LABELS, COPIES, FOLDS = "simclr", 8192, 200, 4, 3
Options = dict[str, Any]
CLASSES = {"task": "classification"}
SETS: dict[str, tuple[str, Options, dict[str, Options]]] = {  # data, options of all its targets, and of each
    "cells": (
        "sample:cells",
        {"image_size": 32},
        {
            "kind": CLASSES,
            "area": {"task": "regression", "label_column": "nuclear_area"},
            "stain": {"task": "regression", "label_column": "stain_age"},
            "maturity": {"task": "ordinal"},
        },
    ),
    "pneumonia": ("pneumoniamnist/pneumoniamnist.npz", {"modality": "xray"}, {"class": CLASSES}),
    "pbc": ("pbc_blood_28/pbc_blood_28.npz", {"modality": "microscopy"}, {"class": CLASSES}),
    "folder": ("pbc_blood_folder", {"modality": "microscopy", "image_size": 32}, {"class": CLASSES}),
    "nuclei": ("dsb2018_nuclei", {"modality": "microscopy", "image_size": 32}, {"foreground": {"task": "regression"}}),
    "bccd": ("bccd", {"modality": "microscopy", "image_size": 48}, {"cells": {"task": "regression"}}),
}


def trained(context: Context, jitter: float, crop_min: float) -> Encoder:
    """The encoder of the method at these strengths."""
    settings = {**first_prior(context, METHOD), "jitter": jitter, "crop_min": crop_min}
    run = new_run(context, 0, METHOD, settings)
    next(train(run, context.plan.rungs))
    return context.averaged(run)


def some_labels(context: Context) -> NDArray[np.int64]:
    """Labelled images of the probe part: whole patients by lot until there are LABELS."""
    rows = context.rows(PROBE, labelled=True)
    _, owner = np.unique(context.groups(rows), return_inverse=True)
    sizes = np.bincount(owner)
    drawn = np.random.default_rng(0).permutation(len(sizes))
    before = np.cumsum(sizes[drawn]) - sizes[drawn]
    return rows[np.isin(owner, drawn[before < LABELS])]


def embedded(context: Context, encoder: Encoder, images: torch.Tensor, views: Callable[[torch.Tensor], Any]) -> Any:
    """Embeddings (COPIES * n, d) of views of these images."""
    encoder.eval()
    with torch.inference_mode():
        parts = [looked(encoder, views(images), PLAIN).float().cpu().numpy() for _ in range(COPIES)]
    return np.concatenate(parts)


def harms(context: Context) -> dict[str, dict[str, list[float]]]:
    """For every jitter and crop both differences, each with its standard error."""
    target, rows = context.judged, some_labels(context)
    pool, encoder = context.pool(rows), context.new_encoder(UNTRAINED_SEED)
    images, metric = pool.images_at(np.arange(len(rows))), context.target.metric
    many, unit = np.tile(np.arange(len(rows)), COPIES), context.groups(rows)
    truth, groups = context.truth(rows)[many], unit[many]
    generator = torch.Generator().manual_seed(0)
    plain = embedded(context, encoder, images, context.plain.standardise)
    still = target.score(Seen.of(plain), truth, groups).outcomes
    fold = np.random.default_rng(1).permutation(int(groups.max()) + 1)[groups] % FOLDS
    mean, std = context.data.mean, context.data.std

    def transferred(z: Any) -> Outcomes:
        raw = None
        for at in range(FOLDS):
            learn, judge = np.flatnonzero(fold != at), np.flatnonzero(fold == at)
            part = target.transfer(Seen.of(plain[learn]), truth[learn], groups[learn], Seen.of(z[judge]))
            raw = np.empty((len(z), *part.shape[1:]), part.dtype) if raw is None else raw
            raw[judge] = part
        assert raw is not None
        return target.judge(raw, truth, groups)

    unmoved, found = transferred(plain), {}
    for jitter, crop_min in itertools.product(JITTERS, CROPS):
        views = views_for(context.data.dims)(context.preset, mean, std, jitter=jitter, crop_min=crop_min)
        z = embedded(context, encoder, images, lambda x, views=views: views(x, generator))  # type: ignore[misc]
        learnt = target.score(Seen.of(z), truth, groups).outcomes.minus(still, metric, groups, draws=200)
        moved = transferred(z).minus(unmoved, metric, groups, draws=200)
        values = {"views": [learnt.value, learnt.se], "moved": [moved.value, moved.se]}
        found[key(jitter, crop_min)] = {name: [round(v, 4) for v in value] for name, value in values.items()}
    return found


def key(jitter: float, crop_min: float) -> str:
    return f"jitter {jitter} crop {crop_min}"


def place(name: str, data: Path, work: Path) -> str:
    """Where the data of a set are; a manifest is written for what has none."""
    found = SETS[name][0]
    if found in MANIFESTS or name in MANIFESTS:
        write_manifest(name, data / found, work / f"{name}.csv")
        return str(work / f"{name}.csv")
    return found if found.startswith("sample:") else str(data / found)


def fill(name: str, data: Path, work: Path, rows: Rows) -> None:
    """The rows of one set: `harm TARGET` before training, one a setting after."""
    _, shared, targets = SETS[name]
    contexts = {
        target: opened(place(name, data, work), work / f"{name}-{target}", IMAGES, **shared, **options)
        for target, options in targets.items()
    }
    for target, context in contexts.items():
        if (at := f"{name} {target} harm") not in rows:
            started = time.monotonic()
            rows.add(
                at, {"preset": context.preset.first_jitter, "found": harms(context), "s": time.monotonic() - started}
            )
            print(at, rows.rows[at]["s"], flush=True)
    for jitter, crop_min in itertools.product(JITTERS, CROPS):
        if (at := f"{name} {key(jitter, crop_min)}") not in rows:
            started = time.monotonic()
            encoder = trained(next(iter(contexts.values())), jitter, crop_min)
            scores = {target: context.score(encoder) for target, context in contexts.items()}
            found = {target: [round(score.value, 4), round(score.se, 4)] for target, score in scores.items()}
            rows.add(at, {"scores": found, "s": time.monotonic() - started})
            print(at, rows.rows[at], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--out", type=Path, default=HERE / "result.json")
    asked = parser.parse_args()
    rows = Rows(asked.out, {"method": METHOD, "images": IMAGES, "labels": LABELS, "copies": COPIES})
    for name in asked.sets:
        fill(name, asked.data, asked.work, rows)


if __name__ == "__main__":
    main()
