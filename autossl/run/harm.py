"""The harm test: which views take the labels of a study away, asked of closed-form probes before any training.

A probe is fitted to views of some patients' images and answers to such views of the others', so that what counts is
what views leave of the labels. A probe of images as they are would count what is merely new to it as well
(docs/decisions.md).
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from autossl.errors.printable import joined, one_line
from autossl.finish.baselines import UNTRAINED_SEED
from autossl.nn.sight import looked
from autossl.proxies import Outcomes, judging_folds
from autossl.targets import Judged, Seen
from autossl.targets.base import compared
from autossl.train.pool import at_a_time
from autossl.trials.context import Context
from autossl.trials.tolerance import CROP, JITTER, Reading, Tolerance
from autossl.views.presets import MOVES, Preset
from autossl.views.volumes import views_for

JITTERS, CROPS, PARTS = (0.05, 0.2, 0.5, 0.8), (0.8, 0.5, 0.3, 0.15), (0.2, 0.8)  # weak to strong
LABELS = 300  # images that are asked about, whole patients
COPIES = 2  # views of each
TIMES = 1.5 * COPIES  # as long as a look at images as they are takes a reading
DRAWS = 200
SHARE = 0.02  # of the time limit at most
SIDE = {2: 8, 3: 5}  # pixels or voxels a side of images as the simplest eye sees them
BATCH = 128
SEED = 31  # of the lot of every view: the same crops and turns at every strength

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Look = Callable[[Tensor], Tensor]


class Asked(NamedTuple):
    """Views of one kind at one strength."""

    view: str
    strength: float
    allowed: Preset
    crop_min: float
    jitter: float


def asked(preset: Preset, dims: int) -> list[list[Asked]]:
    """What is asked, in the order in which it matters: crops, moves, all intensities together, operations alone."""
    idle = views_for(dims).idle
    intensities = [name for name in preset.operations if name not in MOVES and name not in idle]
    still, coloured = preset.only(), preset.only(*intensities)
    found = [[Asked(CROP, at, still, at, 0.0) for at in CROPS]]
    found += [[Asked(name, 1.0, preset.only(name), 1.0, 0.0)] for name in preset.operations if name in MOVES]
    found += [[Asked(JITTER, at, coloured, 1.0, at) for at in JITTERS]] if intensities else []
    if len(intensities) > 1:
        found += [[Asked(name, at, preset.only(name), 1.0, at) for at in PARTS] for name in intensities]
    return found


@dataclass(frozen=True, eq=False)
class Eye:
    """Labelled images of the probe part as something sees them at once: `look` embeds (b, c, *space) as (b, d)."""

    context: Context
    rows: Ints
    name: str
    look: Look

    @cached_property
    def clean(self) -> Outcomes:
        """What a probe of images as they are answers to those of other patients."""
        return self.answers(self.seen(self.context.plain.standardise))

    @property
    def value(self) -> float:
        """How well the labels are told by images as they are, in the study's metric."""
        return self.clean.value(self.context.target.metric)

    @property
    def groups(self) -> Ints:
        """Patients of the images."""
        return self.context.groups(self.rows)

    def views(self, one: Asked) -> Iterator[Floats]:
        """What is seen of such views, (n, d), of each copy anew."""
        data = self.context.data
        views = views_for(data.dims)(one.allowed, data.mean, data.std, crop_min=one.crop_min, jitter=one.jitter)
        generator = torch.Generator(device=self.context.device).manual_seed(SEED)
        for _ in range(COPIES):
            yield self.seen(lambda images: views(images, generator))

    def answers(self, z: Floats) -> Outcomes:
        """What the probe of the aligned score answers to images (n, d) of other patients than it was fitted to."""
        return self.context.target.score(Seen.of(z), self.context.truth(self.rows), self.groups).outcomes

    def seen(self, view: Look) -> Floats:
        """The images as they are after `view`, embedded (n, d)."""
        pool, size = self.context.pool(self.rows), at_a_time(self.context.data.images, BATCH)
        places = np.array_split(np.arange(len(self.rows)), -(-len(self.rows) // size))
        with torch.inference_mode():
            return np.concatenate([self.look(view(pool.images_at(at))).float().cpu().numpy() for at in places])


def eyes(context: Context, seconds: float | None = None) -> Iterator[Eye]:
    """What sees the labelled images at once, the cheapest first; none where too few of them can be judged.

    Encoders of which a reading would take longer than so many `seconds`, as the look at the starts has shown, are left
    out; given ones, which may be large, also where no time is known.
    """
    rows, known = context.scored_rows, context.state("baselines") or {}
    rows = rows[compared(len(rows), context.groups(rows), LABELS)]
    if judging_folds(context.truth(rows).strata, context.groups(rows)).max() == 0:
        return
    share, side, dims = len(rows) / len(context.scored_rows), SIDE[context.data.dims], context.data.dims

    def quick(name: str) -> bool:
        return seconds is None or COPIES * share * known.get(name, {}).get("seconds", 0.0) <= seconds

    pool = F.adaptive_avg_pool2d if dims == 2 else F.adaptive_avg_pool3d
    yield Eye(context, rows, f"pixels ({side} a side)", lambda images: pool(images, side).flatten(1))
    if quick("untrained"):
        yield Eye(context, rows, "the untrained encoder", partial(looked, context.new_encoder(UNTRAINED_SEED).eval()))
    if seconds is not None and context.given is not None:
        name = one_line(context.given.words(context.config.image_size))
        if quick(name):
            yield Eye(context, rows, name, partial(looked, context.encoder(context.given, UNTRAINED_SEED).eval()))


def within(limit: float | None, spare: float | None) -> float | None:
    """How many seconds may be spent on asking: a small part of the limit, and half at most of what is to `spare`."""
    return None if limit is None else min(SHARE * limit, math.inf if spare is None else spare / 2)


def harm_test(context: Context, seconds: float | None) -> Tolerance:
    """What the labels tolerate, as far as these `seconds` reach (None: everything is asked).

    Labels of places are not asked about: most views move the places themselves, and their probes take passes over maps.
    """
    if not isinstance(context.target, Judged):
        return Tolerance(left_out="there are none")
    if context.target.decodes:
        return Tolerance(left_out="only labels of whole images can be asked")
    until = None if seconds is None else time.monotonic() + seconds
    groups = asked(context.preset, context.data.dims)
    first = sum(len(group) for group in groups if group[0].view in (CROP, JITTER, *MOVES))
    found, clean = _quick(context, None if seconds is None else seconds / first)
    if not found:
        return Tolerance(left_out="there was no time, or there are too few labels")
    readings, later = list[Reading](), ""
    for at, group in enumerate(groups, 1):
        began = time.monotonic()
        readings += [read(found, one) for one in group]
        if until is not None and 2 * time.monotonic() - began > until and at < len(groups):
            later = f"there was no time for {joined([group[0].view for group in groups[at:]])}"
            break
    return Tolerance(tuple(eye.name for eye in found), round(clean, 4), len(found[0].rows), tuple(readings), later)


def _quick(context: Context, seconds: float | None) -> tuple[list[Eye], float]:
    """Eyes that together read one kind of views in so many seconds, and how well the best of them tells the labels."""
    taken, clean, began = list[Eye](), -math.inf, time.monotonic()
    for eye in eyes(context, seconds):
        value = eye.value  # which is about what a reading costs
        if seconds is not None and TIMES * (time.monotonic() - began) > seconds:
            break
        taken, clean = [*taken, eye], max(clean, value)
    return taken, clean


def read(found: Sequence[Eye], one: Asked) -> Reading:
    """What such views leave of the labels, the mean over COPIES of each image.

    What one eye still finds is still there: the best of them in these views is compared with the best of them in images
    as they are.
    """
    metric, groups = found[0].context.target.metric, found[0].groups
    clean = max(found, key=lambda eye: eye.value).clean
    kept = []
    for looks in zip(*(eye.views(one) for eye in found), strict=True):
        answers = [eye.answers(z) for eye, z in zip(found, looks, strict=True)]
        less = max(answers, key=lambda each: each.value(metric)).minus(clean, metric, groups, draws=DRAWS)
        kept.append((less.value, less.se))
    return Reading(one.view, one.strength, *np.mean(kept, axis=0).round(4).tolist())
