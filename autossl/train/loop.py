"""One training loop for every method: a generator that yields at rungs; stopping means not asking for more."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext
from autossl.record.folder import replace_file
from autossl.record.stored import Damaged
from autossl.train.pool import Pool, at_a_time, places
from autossl.train.rates import shares
from autossl.train.shortcut import early_accuracy, start

AVERAGED = 0.1  # what is scored has the mean of the weights over this last part of the steps so far
SETTLING = (8, 256)  # batches of so many images at most that settle batch norms
CLIP = 5.0  # largest norm of a gradient; only outliers reach it


@dataclass(frozen=True)
class Settings:
    """How the loop trains; these keywords may stand in a search space beside those of the method and its views."""

    lr: float = 1e-3
    weight_decay: float = 1e-4
    batch_size: int = 256
    layer_decay: float = 1.0  # a layer's share of the rate of the one after it
    trained: str = "all"  # what of the encoder: see autossl.train.partial


@dataclass
class Run:
    """One candidate in training. `average` is the encoder that is scored; `method` goes on being trained.

    A running mean is kept of the weights of all that the method delivers.
    """

    method: Pretext
    settings: Settings
    pool: Pool
    seed: int
    warmup: int  # images over which the learning rate rises
    horizon: int  # images of the top rung: what schedules of a method call progress 1, unless the rate is annealed
    step: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)  # (images seen, mean loss since the last entry)
    shares: list[float] = field(default_factory=list)  # of right answers in the first steps, where a task has them
    optimizer: torch.optim.Optimizer = field(init=False)
    mean: list[Tensor] = field(default_factory=list)  # running mean of the delivered parameters, and of how many
    averaged: int = 0
    accumulate: int = 1  # micro-batches per step, after an out-of-memory
    rise: float = 0.0  # the same as a share of a training whose rate falls afterwards

    def __post_init__(self) -> None:
        self.batch = min(self.settings.batch_size, len(self.pool))
        self.method.population = len(self.pool)
        self.optimizer = optimizer(self.method, self.settings)

    @property
    def images(self) -> int:
        """Images seen so far."""
        return self.step * self.batch

    @property
    def watched(self) -> int:
        """Images within which the task must not be solved."""
        return start(len(self.pool))

    @property
    def early_accuracy(self) -> float | None:
        """Highest share of right answers within these images; None where the task has none."""
        return early_accuracy(self.shares, self.batch)

    @property
    def average(self) -> dict[str, Tensor]:
        """State dict of the encoder with averaged weights (batch norms still need settling)."""
        return self.average_of(self.method.encoder)

    def average_of(self, module: nn.Module) -> dict[str, Tensor]:
        """State dict of a module that the method delivers, with averaged weights."""
        means = dict(zip(self.delivered, self.mean, strict=False))
        state = {name: value.detach().clone() for name, value in module.state_dict().items()}
        state.update({name: means[p].clone() for name, p in module.named_parameters() if p in means})
        return state

    @property
    def delivered(self) -> list[nn.Parameter]:
        """What is averaged."""
        return [p for module in self.method.delivered for p in module.parameters()]


class Diverged(RuntimeError):
    """The loss is no longer a finite number."""


def optimizer(model: Pretext, settings: Settings) -> torch.optim.Optimizer:
    """AdamW without decay on vectors (norms and biases); each group has its share of the rate (`layer_decay`)."""
    own = {} if settings.layer_decay == 1 else shares(model.encoder, settings.layer_decay)
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for p in (p for p in model.parameters() if p.requires_grad):
        groups.setdefault((p.ndim <= 1, own.get(p, 1.0)), []).append(p)
    made = [
        {"params": groups[of], "weight_decay": 0.0 if of[0] else settings.weight_decay, "share": of[1]}
        for of in sorted(groups)
    ]
    return torch.optim.AdamW(made, lr=settings.lr, fused=True)


def train(
    run: Run,
    rungs: Sequence[int],
    *,
    out_of_time: Callable[[], bool] = lambda: False,
    anneal: Callable[[int], float] | None = None,
) -> Iterator[bool]:
    """Train `run`; yields True at each rung (images seen), or False once when time ran out before the next one.

    `anneal(images seen)` in [0, 1] lowers the learning rate along a cosine; without it the rate is constant after
    the warm-up. Raises Diverged when a loss is not finite.
    """
    run.method.train()
    for rung in rungs:
        last = math.ceil(rung / run.batch)
        first_averaged = last - max(1, round(AVERAGED * last))
        if anneal is None and run.step <= first_averaged:
            run.mean, run.averaged = [], 0  # of the rung below
        while run.step < last:
            if out_of_time():
                yield False
                return
            _step(run, anneal)
            if anneal is not None:  # the end may not be known: a window that grows with the steps
                _average(run, AVERAGED)
            elif run.step > first_averaged:
                _average(run)
        yield True


def _step(run: Run, anneal: Callable[[int], float] | None) -> None:
    started = time.perf_counter()
    lr = run.settings.lr * _factor(run, anneal)
    for group in run.optimizer.param_groups:
        group["lr"] = lr * group.get("share", 1.0)  # a checkpoint of an earlier version has none
    at = places(run.step, run.batch, len(run.pool), run.seed, run.pool.patients if run.method.paired else None)
    _seed(run)
    run.optimizer.zero_grad(set_to_none=True)
    total, right = 0.0, 0.0
    for part in torch.arange(len(at)).tensor_split(max(1, min(run.accumulate, len(at) // 2))):  # norms need two images
        rows = at[part.numpy()]
        loss = run.method.loss(run.pool.batch(rows)) * (len(rows) / len(at))
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
        if run.method.accuracy is not None:
            right += float(run.method.accuracy) * len(rows) / len(at)
    if not math.isfinite(total):
        raise Diverged(f"the loss is {total} after {run.images} images")
    nn.utils.clip_grad_norm_(run.method.parameters(), CLIP)
    run.optimizer.step()
    run.step += 1
    run.method.after_step(_progress(run, anneal))
    run.seconds += time.perf_counter() - started
    run.losses.append((run.images, total))
    if run.method.accuracy is not None and run.images <= run.watched:
        run.shares.append(right)


def _factor(run: Run, anneal: Callable[[int], float] | None) -> float:
    seen = run.images + run.batch
    rise = min(1.0, seen / max(run.warmup, 1))
    if anneal is None:
        return rise
    if run.rise:
        rise = min(rise, anneal(seen) / run.rise)
    return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, anneal(run.images)))))


def _progress(run: Run, anneal: Callable[[int], float] | None) -> float:
    """Schedules end with the top rung, and once more with a rate that falls, from whose start they begin anew."""
    share = run.images / run.horizon if anneal is None else anneal(run.images)
    return min(1.0, max(0.0, share))


def _seed(run: Run) -> None:
    """Everything random in a step follows from the run's seed and the step, so that a resumed run repeats it."""
    seed = (run.seed * 1_000_003 + run.step) % (1 << 62)
    torch.manual_seed(seed)  # drop-path and dropout inside a backbone
    run.method.generator.manual_seed(seed)


@torch.no_grad()
def _average(run: Run, window: float = 1.0) -> None:
    """Add the weights to their running mean over the last `window` of the steps that were added."""
    now = [p.detach() for p in run.delivered]
    run.averaged += 1
    if run.averaged == 1:
        run.mean = [p.clone() for p in now]
    else:
        weight = min(1.0, 1 / (window * run.averaged))
        for mean, value in zip(run.mean, now, strict=True):
            mean.lerp_(value, weight)


@torch.no_grad()
def settle_norms(encoder: Encoder, pool: Pool, standardise: Callable[[Tensor], Tensor]) -> None:
    """Re-estimate batch-norm statistics of `encoder` on plain images of the pool (averaged weights need new ones).

    In fp32, however it is trained. Those of frozen parts stay what they are.
    """
    encoder.train()
    norms = [m for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    if not norms:
        encoder.eval()
        return
    kept, low_precision = [(m, m.momentum) for m in norms], encoder.low_precision
    encoder.low_precision = False
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    size = min(at_a_time(pool.images, SETTLING[1], encoder.upsample), len(pool))
    for step in range(SETTLING[0]):
        encoder(standardise(pool.images_at(places(step, size, len(pool), seed=0))))
    for norm, momentum in kept:
        norm.momentum = momentum
    encoder.low_precision = low_precision
    encoder.eval()


def save(run: Run, path: Path, **facts: float) -> None:
    """Write what `resume` needs, and the facts that it returns, whole or not at all."""
    state: dict[str, Any] = {
        "method": run.method.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "mean": run.mean,
        "averaged": run.averaged,
        "step": run.step,
        "batch": run.batch,
        "seconds": run.seconds,
        "losses": run.losses,
        "shares": run.shares,
        "accumulate": run.accumulate,
        "facts": facts,
    }
    replace_file(path, lambda file: torch.save(state, file))


def resume(run: Run, path: Path) -> dict[str, float]:
    """Bring `run` to where `save` left it; returns the facts beside it. Raises `Damaged`."""
    try:
        return _restored(run, torch.load(path, map_location=run.pool.device, weights_only=True))
    except torch.OutOfMemoryError:
        raise
    except Exception as fault:  # what a file that is cut, or of another network, makes torch raise knows no bounds
        raise Damaged(path, type(fault).__name__) from None


def _restored(run: Run, state: dict[str, Any]) -> dict[str, float]:
    assert state["batch"] == run.batch, "a checkpoint of another batch size"
    run.method.load_state_dict(state["method"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step, run.seconds = state["step"], state["seconds"]
    run.mean, run.averaged = state["mean"], state["averaged"]
    if run.mean:  # an earlier version averaged the encoder alone: the mean of the rest begins where that is now
        run.mean += [p.detach().clone() for p in run.delivered[len(run.mean) :]]
    run.losses = [(int(n), float(value)) for n, value in state["losses"]]
    run.shares = [float(share) for share in state["shares"]]
    run.accumulate = state.get("accumulate", 1)  # a study may have been begun by an earlier version
    return dict(state.get("facts", {}))
