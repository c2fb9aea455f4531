"""What self-supervision must beat: the untrained encoder, the user's own weights, and training on the labels alone."""

import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autossl.nn.encoder import Encoder, channels_last
from autossl.nn.sight import taken
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.targets import Readout
from autossl.train.loop import Run, Settings, settle_norms
from autossl.train.partial import ALL, LAST, LORA, restrict, whole
from autossl.train.pool import Pool
from autossl.train.rates import usual_decay
from autossl.train.resumable import Terms, Training
from autossl.trials.context import Context
from autossl.trials.starts import Start
from autossl.views.images import Views
from autossl.views.volumes import views_for

UNTRAINED_SEED = 424_243  # kept apart from the seeds of candidates


class Setting(NamedTuple):
    """How a network is trained on labels; `trained` is what of its encoder."""

    lr: float
    crop_min: float
    jitter: float
    trained: str = ALL

    @property
    def numbers(self) -> dict[str, float]:
        """What of it is a number, by name."""
        return {"lr": self.lr, "crop_min": self.crop_min, "jitter": self.jitter}


SEARCHED: tuple[Setting, ...] = (  # what training on labels is tried at, the jitter in units of the modality's own
    Setting(2e-3, 0.5, 1.0),
    Setting(6e-4, 0.7, 0.5),
    Setting(4e-3, 0.3, 2.0),
)
BOLDER = (ALL, LORA, LAST)  # what of a given transformer these rates train, from the lowest on
JITTER = 0.2  # the unit where the methods bring their own
RISE = 0.05  # of a training, in which the learning rate rises
LABEL_PASSES = 40  # epochs over the labels without a time limit
NIGHT = 10  # times these with one: a long night must not overfit for hours


class Supervised(Pretext):
    """The loss of a readout on labels: the control for every pretext task, in the same loop."""

    paradigm: ClassVar[str] = "supervised"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.0
    paper: ClassVar[str] = ""

    def __init__(self, encoder: Encoder, views: Views, readout: Readout) -> None:
        super().__init__(encoder, readout.views(views))
        self.readout = readout

    @property
    def delivered(self) -> tuple[nn.Module, ...]:
        return (self.encoder, self.readout)

    def loss(self, batch: Batch) -> Tensor:
        u = self.views.draw(batch.images, self.generator)
        raw = self.readout(taken(self.encoder, self.views.apply(batch.images, u), self.readout.sees))
        return self.compared(raw, self.readout.moved(cast(Tensor, batch.truth), self.views, u))

    def compared(self, raw: Tensor, truth: Tensor) -> Tensor:
        """The loss of raw answers against truth."""
        return self.readout.loss(raw, truth)


class Student(Supervised):
    """The same, taught by the raw answers of another network in place of labels."""

    def compared(self, raw: Tensor, truth: Tensor) -> Tensor:
        return self.readout.learn(raw, truth)


@dataclass(frozen=True)
class Effort:
    """How a network was trained on labels: the setting, passes over its labels, and what all its fits saw in `seconds`.

    `labels` are those that the network itself was fitted to. `passes`, `images` and `labels` are 0 in studies of
    earlier versions.
    """

    settings: dict[str, float]
    seconds: float
    passes: float = 0.0
    images: int = 0
    readout: str = "own"  # "probe": a probe on the encoder that was trained did better than its own head
    trained: str = ALL  # of the encoder
    labels: int = 0

    @property
    def pace(self) -> float:
        """Seconds per image in training."""
        return self.seconds / self.images

    @property
    def setting(self) -> Setting:
        """The one that it was trained with."""
        return Setting(self.settings["lr"], self.settings["crop_min"], self.settings["jitter"], self.trained)


class Fitted(NamedTuple):
    """A network fitted to labels, the images that it saw, and the seconds that took, those before a kill included."""

    encoder: Encoder
    head: Readout
    images: int
    seconds: float
    labels: int

    @property
    def passes(self) -> float:
        """How often it saw each."""
        return self.images / self.labels


def untrained(context: Context) -> Encoder:
    """The study's architecture with its initial weights."""
    return context.new_encoder(UNTRAINED_SEED).eval()


def given(context: Context, trained: bool = False) -> Encoder:
    """The given weights as they are, fed in the way that suits the data best, or in that in which they are trained."""
    start = context.trains if trained else context.given
    assert start is not None
    return context.encoder(start, UNTRAINED_SEED).eval()


def settings_of(context: Context, start: Start | None = None) -> tuple[Setting, ...]:
    """What training on labels is tried at in a study, where it began from this `start`.

    Of a given transformer, which high rates throughout would undo, each higher rate trains less (BOLDER).
    """
    unit = context.preset.first_jitter or JITTER
    found = [one._replace(jitter=min(1.0, one.jitter * unit)) for one in SEARCHED]
    if context.judged.exact:
        found = [one._replace(crop_min=1.0, jitter=0.0) for one in found]
    if start is None or start.trained[:1] != (LAST,):
        return tuple(found)
    parts = [part for part in BOLDER if part in start.trained]
    rates = sorted(one.lr for one in found)
    return tuple(one._replace(trained=parts[min(rates.index(one.lr), len(parts) - 1)]) for one in found)


def fit(
    context: Context,
    rows: NDArray[np.int64],
    encoder: Encoder,
    setting: Setting,
    terms: Terms,
    head: Readout | None = None,
    passes: float | None = None,
    soft: NDArray[Any] | None = None,
) -> Fitted | None:
    """Train encoder and head on these labels on these terms (no limit: a fixed number of epochs), rate falling to 0.

    With `head` the head starts from it: fine-tuning, in which the first layers move least. With a limit there are
    `passes` over the labels at most, many unless that is given. The encoder is trained in place; batch norms are
    settled in fp32 on every image outside the test part; where orientation tells nothing and there is time, answers
    are those to the mean over flips and turns. With `soft` (n, ...) these raw answers stand in the place of labels, and
    `head` must be given. None if not one step was made, or it was stopped.
    """
    run = _run(context, rows, encoder, setting, head, soft)
    training = Training(run, terms.path)
    most = NIGHT * run.horizon if passes is None else round(passes * len(rows))
    images = run.horizon if terms.left is None else most
    if not training.to(images, terms, lambda seen, share: max(share, seen / images)) or run.step == 0:
        return None
    readout = cast(Supervised, run.method).readout
    for module in (encoder, readout):
        module.load_state_dict(run.average_of(module))
    settle_norms(encoder, context.final_pool, context.plain.standardise)
    whole(encoder)
    readout.sight = replace(readout.sees, turned=context.plan.turned and not readout.sees.maps)
    return Fitted(encoder, readout.eval(), run.images, training.spent, len(rows))


def _run(
    context: Context,
    rows: NDArray[np.int64],
    encoder: Encoder,
    setting: Setting,
    head: Readout | None,
    soft: NDArray[Any] | None = None,
) -> Run:
    """Training on labels before its first step."""
    data = context.data
    allowed = replace(context.preset, rotate=0.0) if context.judged.exact else context.preset
    views = views_for(encoder.dims)(allowed, data.mean, data.std, crop_min=setting.crop_min, jitter=setting.jitter)
    torch.manual_seed(UNTRAINED_SEED)  # of the readout, and of adapters
    restrict(encoder, setting.trained)
    if soft is None:
        readout, truth = context.judged.readout(encoder, context.truth(rows)), context.truth(rows).array
        if head is not None:
            readout.begins_as(head)
    else:
        assert head is not None, "a student without a head to begin from"
        readout, truth = copy.deepcopy(head), soft
    method = (Supervised if soft is None else Student)(encoder, views, readout)
    channels_last(method.to(context.device), encoder.dims)
    method.generator = torch.Generator(device=context.device)
    pool = Pool(data.images, rows, data.scale, context.device, truth)
    batch = batch_of(len(rows))
    settings = Settings(setting.lr, 1e-2, batch, 1.0 if head is None else usual_decay(encoder))
    return Run(method, settings, pool, context.seed, 0, LABEL_PASSES * len(rows), rise=RISE)


def batch_of(labels: int) -> int:
    """Images per step of a training on so many labels."""
    return max(16, min(128, labels // 4))
