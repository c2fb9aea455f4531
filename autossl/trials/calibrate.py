"""What things cost on this machine, measured in a few seconds before the time is planned."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.record.config import StudyConfig
from autossl.targets import Target
from autossl.targets.base import COMPARED
from autossl.train.pool import VALUES
from autossl.trials.costs import Costs
from autossl.trials.sizing import MIN_RUNG, Method, Needs, foremost
from autossl.trials.space import VOLUMES_FOR

FIRST = 2  # images of the first batch where they are large; each further size is four times as large
BATCH = {2: 256, 3: 32}  # images or volumes of the largest batch, where they are not large
REPEATS = 7  # of the largest batch
TWICE = 2  # every other size: the first time it plans its convolutions and finds memory
INTERVALS = 1.0  # seconds of the intervals of one encoder
SHARE = 0.04  # of the time limit at most: a machine is measured twice at least


@dataclass(frozen=True)
class Speed:
    """Seconds per image of an encoder: of a training step, and of embedding."""

    per_pass: float
    embed: float

    def or_faster(self, other: "Speed") -> "Speed":
        """The lower ones of two measurements: other load only ever slows."""
        return Speed(min(self.per_pass, other.per_pass), min(self.embed, other.embed))


@dataclass(frozen=True)
class Counts:
    """How many images of a study there are for what."""

    pool: int  # pretraining images of the search
    labelled: int  # labelled images outside the test part
    test: int


def measure(encoder: Encoder, channels: int, device: torch.device, limit: float | None, seconds: float) -> Speed:
    """The speed of an encoder on images or volumes of its size, in so many seconds or a small share of the time limit.

    Batches grow from a small one as far as the time allows, so that nothing large is begun that would not end.
    """
    seconds = seconds if limit is None else min(seconds, SHARE * limit)
    largest, values = BATCH[encoder.dims], math.prod(encoder.upsample * side for side in encoder.size)
    first = max(FIRST, min(largest // 4, VALUES // values))
    most = max(first, min(largest, largest * VALUES // values))
    own = torch.Generator(device).manual_seed(0)  # the global one is nobody's here
    images = torch.rand(most, *encoder.size, channels, generator=own, device=device)
    images = images.movedim(-1, 1)  # channels last, as batches are
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.0, fused=True)

    def step(size: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        encoder(images[:size]).square().mean().backward()
        optimizer.step()

    def embed(size: int) -> None:
        with torch.inference_mode():
            encoder(images[:size]).float().cpu()

    encoder.train()
    per_pass = _fastest(device, step, first, most, 0.75 * seconds)
    encoder.eval()
    return Speed(per_pass, _fastest(device, embed, first, most, 0.25 * seconds))


def _fastest(device: torch.device, work: Callable[[int], object], first: int, most: int, seconds: float) -> float:
    """Seconds per image of batches of growing size; the first is always done, others only if they should end in time.

    The first is done by one thread, whose own time counts: beside busy programs threads wait, for them and each other.
    """
    began, threads = time.perf_counter(), torch.get_num_threads()
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    try:
        torch.set_num_threads(1)
        work(first)  # imports, finds memory
        fastest = _timed(device, work, first, clock)
    finally:
        torch.set_num_threads(threads)
    size = first
    while True:
        for _ in range(REPEATS if size == most else TWICE):
            if fastest * size > seconds - (time.perf_counter() - began):
                return fastest
            fastest = min(fastest, _timed(device, work, size))
        if size == most:
            return fastest
        size = min(4 * size, most)


def costs(config: StudyConfig, speed: Speed, counts: Counts, score: float, dim: int, target: Target) -> Costs:
    """What the plan counts with; `score` are the seconds of scoring one embedding, `dim` its width."""
    wide = dim + dim // 2  # two stages, say
    probe, sight = (target.probe_seconds(labels, wide) for labels in (counts.labelled, min(counts.labelled, COMPARED)))
    return Costs(
        # views, heads and the optimiser of the heads come on top of the passes
        per_image={name: METHODS[name].passes * speed.per_pass * 1.15 for name in config.methods},
        per_pass=speed.per_pass,
        score=score + 0.3,
        embed=speed.embed,
        evaluate=INTERVALS + probe if counts.labelled else 0.0,
        probe=probe,
        sight=sight,
        supervised=target.trained * speed.per_pass if counts.labelled else 0.0,
    )


def needs(
    config: StudyConfig,
    priors: Mapping[str, int],
    dims: int,
    counts: Counts,
    found: Costs,
    target: Target,
    late: frozenset[str] = frozenset(),
) -> Needs:
    """What the plan of a study must provide for; `priors` are counted by method, `late` ones are tried last."""
    methods = tuple(
        Method(name, METHODS[name].paradigm, priors[name], METHODS[name].passes, name in late)
        for name in sorted(config.methods, key=late.__contains__)
    )
    most = config.max_candidates
    if not target.ranks:
        methods = foremost(methods)
        most = min(len(methods), most or len(methods))
    return Needs(
        costs=found,
        methods=methods,
        pool=counts.pool,
        images=counts.labelled + counts.test,
        labelled=counts.labelled,
        max_candidates=most,
        workers=config.workers,
        baselines=3 if config.given else 2,
        finetune=target.tunes(config.adaptation),
        given=bool(config.given),
        decoded=target.decodes,
        frozen=2 if config.given else 1,
        turned="orientation" in config.lacks and not target.decodes,
        least=MIN_RUNG if dims == 2 else MIN_RUNG // VOLUMES_FOR,
        ranked=target.ranks,
    )


def _timed(
    device: torch.device,
    work: Callable[[int], object],
    images: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    started = clock()
    work(images)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (clock() - started) / images
