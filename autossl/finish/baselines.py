"""What self-supervision must beat: the untrained encoder, the user's own weights, and training on the labels alone."""

import logging
import time
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autossl.nn.encoder import Encoder, channels_last
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.targets import Readout
from autossl.train.loop import Run, Settings, settle_norms
from autossl.train.pool import Pool
from autossl.train.resumable import Terms, Training
from autossl.trials.context import PROBE, SELECTION, Context
from autossl.views.images import Views
from autossl.views.volumes import views_for

log = logging.getLogger("autossl")

UNTRAINED_SEED = 424_243  # kept apart from the seeds of candidates
Setting = tuple[float, float, float]  # learning rate, smallest crop, jitter
SEARCHED: tuple[Setting, ...] = (  # the supervised baseline's own small search
    (2e-3, 0.5, 0.2),
    (6e-4, 0.7, 0.1),
    (4e-3, 0.3, 0.4),
)
LABEL_PASSES = 40  # epochs over the labels without a time limit
NIGHT = 10  # times these with one: a long night must not overfit for hours


class Supervised(Pretext):
    """The loss of a readout on labels: the control for every pretext task, in the same loop."""

    paradigm: ClassVar[str] = "supervised"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.0
    paper: ClassVar[str] = ""

    def __init__(self, encoder: Encoder, views: Views, readout: Readout) -> None:
        super().__init__(encoder, views)
        self.readout = readout

    @property
    def delivered(self) -> tuple[nn.Module, ...]:
        return (self.encoder, self.readout)

    def loss(self, batch: Batch) -> Tensor:
        return self.readout.loss(self.readout(self.encoder(self.views(batch.images, self.generator))), batch.truth)


@dataclass(frozen=True)
class Trained:
    """A network trained on labels: its encoder, its own head, what it scored on the selection part, and how.

    `passes` are those over its labels, `images` what all its runs saw in `seconds`; 0 in studies of earlier versions.
    """

    encoder: Encoder
    head: Readout
    selection: float | None  # None: no search, one default run
    settings: dict[str, float]
    seconds: float
    passes: float = 0.0
    images: int = 0

    @property
    def pace(self) -> float:
        """Seconds per image in training."""
        return self.seconds / self.images

    @property
    def setting(self) -> Setting:
        """The one that it was trained with."""
        return self.settings["lr"], self.settings["crop_min"], self.settings["jitter"]


class Fitted(NamedTuple):
    """A network fitted to labels, the images that it saw, and the seconds that took, those before a kill included."""

    encoder: Encoder
    head: Readout
    images: int
    seconds: float


def untrained(context: Context) -> Encoder:
    """The study's architecture with its initial weights."""
    return context.new_encoder(UNTRAINED_SEED).eval()


def given(context: Context) -> Encoder:
    """The study's architecture with the user's weights."""
    return context.given(context.new_encoder(UNTRAINED_SEED)).eval()


def scored(context: Context) -> dict[str, Any]:
    """Aligned scores of encoders that no search trains: leaderboard rows and study attributes, never trials."""
    encoders = {"untrained": untrained(context)}
    if context.config.weights:
        encoders["weights"] = given(context)
    found = {}
    for name, encoder in encoders.items():
        started = time.monotonic()
        score = context.score(encoder)
        seconds_used = round(time.monotonic() - started, 3)
        found[name] = {"score": score.value, "se": score.se, **score.proxies, "seconds": seconds_used}
        context.study.set_user_attr(f"baseline {name}", round(score.value, 4))
        log.info("%s encoder: %s", name, context.target.line(score))
    if context.target.ranks and context.starts_from_weights and found["weights"]["score"] < found["untrained"]["score"]:
        log.warning("the given weights score below no training at all here; with --start random candidates leave them")
    return found


def supervised(context: Context, terms: Terms, trials: int = len(SEARCHED)) -> Trained | None:
    """Supervised training from scratch with its own small search, on these terms.

    Half of the time goes to the search on the probe part, judged on the selection part; the other half trains the
    best setting on every label outside the test part. None if time ran out before anything was trained, or a stop came
    before one run was whole: a baseline that was cut short would flatter what it is compared with.

    Every run has its own checkpoint beside `terms.path`, at its end too, so that after a kill none is repeated.
    """
    spent = 0.0
    rows, every_row = context.rows(PROBE, labelled=True), context.rows(PROBE, SELECTION, labelled=True)
    found: list[tuple[float, int, Fitted]] = []
    for index in range(trials if trials > 1 else 0):
        part = terms.share(f"{index}", 0.5 / trials, 0.5 / (trials - index))
        model = fit(context, rows, untrained(context), SEARCHED[index], part)
        if model is None:
            break
        spent += model.seconds
        found.append((selection_value(context, model.encoder, model.head), index, model))
    value, best, tried = max(found, key=lambda f: f[:2]) if found else (None, 0, None)
    # where the search took all the time, or a stop came, its best network stands, trained on fewer labels
    chosen = fit(context, every_row, untrained(context), SEARCHED[best], terms.without(spent)) or tried
    if chosen is None:
        return None
    made = [run for *_, run in found] + ([chosen] if chosen is not tried else [])
    seconds, images = sum(run.seconds for run in made), sum(run.images for run in made)
    lr, crop, jitter = SEARCHED[best]
    settings = {"lr": lr, "crop_min": crop, "jitter": jitter, "tried": len(found)}
    passes = chosen.images / len(rows if chosen is tried else every_row)
    return Trained(chosen.encoder, chosen.head, value, settings, seconds, passes, images)


def fit(
    context: Context,
    rows: NDArray[np.int64],
    encoder: Encoder,
    setting: Setting,
    terms: Terms,
    head: Readout | None = None,
    passes: float | None = None,
) -> Fitted | None:
    """Train encoder and head on these labels on these terms (no limit: a fixed number of epochs), rate falling to 0.

    With `head` the head starts from it: fine-tuning. With a limit there are `passes` over the labels at most, many
    unless that is given. None if not one step was made, or it was stopped before its end.
    """
    run = _run(context, rows, encoder, setting, head)
    training = Training(run, terms.path)
    most = NIGHT * run.horizon if passes is None else round(passes * len(rows))
    images = run.horizon if terms.left is None else most
    if not training.to(images, terms, lambda seen, share: max(share, seen / images)) or run.step == 0:
        return None
    tuned = context.new_encoder(0)
    tuned.load_state_dict(run.average)
    settle_norms(tuned, run.pool, context.plain.standardise)
    readout = cast(Supervised, run.method).readout
    readout.load_state_dict(run.average_of(readout))
    return Fitted(tuned, readout.eval(), run.images, training.spent)


def _run(
    context: Context,
    rows: NDArray[np.int64],
    encoder: Encoder,
    setting: Setting,
    head: Readout | None,
) -> Run:
    """Training on labels before its first step."""
    lr, crop_min, jitter = setting
    data = context.data
    views = views_for(encoder.dims)(context.preset, data.mean, data.std, crop_min=crop_min, jitter=jitter)
    readout = context.judged.readout(encoder, context.truth(rows))
    if head is not None:
        readout.load_state_dict(head.state_dict())
    method = Supervised(encoder, views, readout)
    channels_last(method.to(context.device), encoder.dims)
    method.generator = torch.Generator(device=context.device)
    pool = Pool(data.images, rows, data.scale, context.device, truth=data.truth.array)
    batch = max(16, min(128, len(rows) // 4))
    return Run(method, Settings(lr, 1e-2, batch), pool, context.seed, 4 * batch, LABEL_PASSES * len(rows))


def selection_value(context: Context, encoder: Encoder, head: Readout) -> float:
    """The study's metric of a network on the selection part."""
    rows = context.rows(SELECTION, labelled=True)
    return context.outcomes(context.see(encoder, rows), head, rows).value(context.target.metric)
