"""What things cost on this machine, measured in a few seconds before the time is planned."""

import time
from collections.abc import Callable

import torch

from autossl.baselines import UNTRAINED_SEED
from autossl.context import PROBE, SELECTION, Context
from autossl.pool import places
from autossl.pretext import METHODS
from autossl.rungs import Costs
from autossl.targets.classification import MANY

BATCH = {2: 256, 3: 32}  # images or volumes of a step
REPEATS = 5  # the fastest counts: other load only ever slows
WARM = 2  # steps before: the first ones plan convolutions and find memory


def calibrate(context: Context, score_seconds: float) -> Costs:
    """Seconds per training and per embedded image of the study's encoder; scoring as it was just measured."""
    encoder = context.new_encoder(UNTRAINED_SEED)
    pool = context.probe_pool
    size = min(BATCH[context.data.dims], len(pool))
    batches = [context.plain.standardise(pool.batch(places(i, size, len(pool), 0))) for i in range(REPEATS)]
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.0, fused=True)

    def step(batch: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        encoder(batch).square().mean().backward()
        optimizer.step()

    encoder.train()
    for batch in batches[:WARM]:
        step(batch)
    per_pass = min(_timed(context.device, lambda b=b: step(b)) for b in batches) / size  # type: ignore[misc]
    rows = pool.rows[:size]
    context.embed(encoder, rows)
    embed = min(_timed(context.device, lambda: context.embed(encoder, rows)) for _ in range(REPEATS)) / size
    # views, heads and the optimiser of the heads come on top of the passes
    return Costs(
        per_image={name: METHODS[name].passes * per_pass * 1.15 for name in context.config["methods"]},
        per_pass=per_pass,
        score=score_seconds + 0.3,
        embed=embed,
        evaluate=_evaluate_seconds(context, encoder.dim),
        supervised=1.3 * per_pass,
    )


def _evaluate_seconds(context: Context, dim: int) -> float:
    """Heads and intervals of one encoder: logistic regressions, about seven fits of 100 steps, of many labels 50."""
    labels = len(context.rows(PROBE, SELECTION, labelled=True))
    flop = 7 * (100 if labels < MANY else 50) * 4.0 * labels * dim * len(context.data.classes)
    return 1.0 + flop / 20e9


def _timed(device: torch.device, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
