"""What self-supervision must beat: the untrained encoder, the user's own weights, and training on the labels alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autossl.context import PROBE, SELECTION, Context
from autossl.encoder import Encoder, channels_last
from autossl.pool import Pool
from autossl.pretext.base import Pretext
from autossl.targets import Head
from autossl.train import Run, Settings, settle_norms, train
from autossl.views import Views
from autossl.volumes import views_for

UNTRAINED_SEED = 424_243  # kept apart from the seeds of candidates
SEARCHED = (  # the supervised baseline's own small search: learning rate, smallest crop, jitter
    (2e-3, 0.5, 0.2),
    (6e-4, 0.7, 0.1),
    (4e-3, 0.3, 0.4),
)
LABEL_PASSES = 40  # epochs over the labels without a time limit


class Supervised(Pretext):
    """Class-balanced cross-entropy on labels: the control for every pretext task, in the same loop."""

    paradigm: ClassVar[str] = "supervised"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.0
    paper: ClassVar[str] = ""

    def __init__(self, encoder: Encoder, views: Views, *, classes: int, weights: Tensor | None = None) -> None:
        super().__init__(encoder, views)
        self.head = nn.Linear(encoder.dim, classes)
        self.register_buffer("class_weights", torch.ones(classes) if weights is None else weights)

    def loss(self, images: Tensor, groups: Tensor | None = None) -> Tensor:
        """`groups` are the labels here (b,): the loop hands through what the pool holds beside the images."""
        assert groups is not None
        logits = self.head(self.encoder(self.views(images, self.generator)))
        return F.cross_entropy(logits, groups, weight=self.class_weights)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Trained:
    """A network trained on labels: its encoder, its own head, what it scored on the selection part, and how."""

    encoder: Encoder
    head: Head
    selection: float | None  # None: no search, one default run
    settings: dict[str, float]
    seconds: float


def untrained(context: Context) -> Encoder:
    """The study's architecture with its initial weights."""
    return context.new_encoder(UNTRAINED_SEED).eval()


def given(context: Context) -> Encoder:
    """The study's architecture with the user's weights."""
    return context.given(context.new_encoder(UNTRAINED_SEED)).eval()


def supervised(
    context: Context, budget: float | None, stopped: Callable[[], bool], trials: int = len(SEARCHED)
) -> Trained | None:
    """Supervised training from scratch with its own small search, in at most `budget` seconds.

    Half of the time goes to the search on the probe part, judged on the selection part; the other half trains the
    best setting on every label outside the test part. None if time ran out before anything was trained, or a stop came
    before one run was whole: a baseline that was cut short would flatter what it is compared with.
    """
    started = time.monotonic()
    rows, every_row = context.rows(PROBE, labelled=True), context.rows(PROBE, SELECTION, labelled=True)
    found: list[tuple[float, int, tuple[Encoder, Head]]] = []
    for index in range(trials if trials > 1 else 0):
        share = None if budget is None else budget / 2 / trials
        model = fit(context, rows, untrained(context), SEARCHED[index], share, stopped)
        if model is None:
            break
        found.append((selection_value(context, *model), index, model))
    value, best, tried = max(found, key=lambda f: f[:2]) if found else (None, 0, None)
    rest = None if budget is None else budget - (time.monotonic() - started)
    # where the search took all the time, or a stop came, its best network stands, trained on fewer labels
    chosen = fit(context, every_row, untrained(context), SEARCHED[best], rest, stopped) or tried
    if chosen is None:
        return None
    lr, crop, jitter = SEARCHED[best]
    settings = {"lr": lr, "crop_min": crop, "jitter": jitter, "tried": len(found)}
    return Trained(*chosen, value, settings, time.monotonic() - started)


def fit(
    context: Context,
    rows: NDArray[np.int64],
    encoder: Encoder,
    setting: tuple[float, float, float],
    budget: float | None,
    stopped: Callable[[], bool],
    head: Head | None = None,
) -> tuple[Encoder, Head] | None:
    """Train encoder and head on these labels for `budget` seconds (or a fixed number of epochs), rate falling to 0.

    With `head` the head starts from it: fine-tuning. None if not one step was made, or `stopped` (asked at every
    step) cut it short.
    """
    lr, crop_min, jitter = setting
    data, classes = context.data, len(context.data.classes)
    labels = data.labels[rows]
    counts = np.bincount(labels, minlength=classes)
    weights = torch.tensor(len(labels) / np.maximum(counts, 1) / classes, dtype=torch.float32)
    views = views_for(encoder.dims)(context.preset, data.mean, data.std, crop_min=crop_min, jitter=jitter)
    method = Supervised(encoder, views, classes=classes, weights=weights)
    if head is not None:
        with torch.no_grad():
            method.head.weight.copy_(torch.from_numpy(head.weights.T.copy()))
            method.head.bias.copy_(torch.from_numpy(head.intercept.copy()))
    channels_last(method.to(context.device), encoder.dims)
    method.generator = torch.Generator(device=context.device)
    # the labels ride where patients ride otherwise
    pool = Pool(data.images, rows, data.scale, context.device, data.labels)
    batch = max(16, min(128, len(rows) // 4))
    horizon = LABEL_PASSES * len(rows)
    run = Run(method, Settings(lr, 1e-2, batch), pool, context.seed, warmup=4 * batch, horizon=horizon)
    _timed(run, horizon, budget, stopped)
    if run.step == 0 or stopped():
        return None
    tuned = context.new_encoder(0)
    tuned.load_state_dict(run.average)
    settle_norms(tuned, pool, context.plain.standardise)
    own = method.head
    return tuned, Head(own.weight.detach().cpu().numpy().T.copy(), own.bias.detach().cpu().numpy().copy(), 0.0)


def _timed(run: Run, horizon: int, budget: float | None, stopped: Callable[[], bool]) -> None:
    if budget is None:
        next(train(run, [horizon], out_of_time=stopped, anneal=lambda images: images / horizon))
        return
    started = time.monotonic()
    enough = 10 * horizon  # a long night must not overfit for hours

    def progress(images: int) -> float:
        return max((time.monotonic() - started) / budget, images / enough)

    def over() -> bool:
        return stopped() or time.monotonic() - started >= budget

    next(train(run, [enough], out_of_time=over, anneal=progress))


def selection_value(context: Context, encoder: Encoder, head: Head) -> float:
    """The study's metric of a network on the selection part."""
    rows = context.rows(SELECTION, labelled=True)
    return context.target.value(context.data.labels[rows], head.logits(context.embed(encoder, rows)))
