"""Single jobs on a finished or running study: train one candidate on, evaluate the model."""

from pathlib import Path
from typing import Any

import numpy as np

from autossl import export, final
from autossl.clock import seconds
from autossl.context import TEST, open_context
from autossl.data import read_images
from autossl.errors import UserError
from autossl.folder import existing
from autossl.journal import entries
from autossl.proxies import bootstrap, interval
from autossl.scheduler import best, order


def train_on(run: str | Path, candidate: int | None, time_limit: str, output: Path) -> Path:
    """Train one candidate (default: the leader) on with a falling learning rate; write its encoder to `output`."""
    context = open_context(existing(run))
    if output.exists():
        raise UserError(f"a new folder was wanted, found something at --output {output}; choose another")
    board = order(entries(context.study.get_trials(deepcopy=False)))
    chosen = best(board) if candidate is None else next((e for e in board if e.candidate == candidate), None)
    if chosen is None:
        raise UserError(
            f"a scored candidate was wanted, found none numbered {candidate} in {run}; see autossl leaderboard"
        )
    encoder, facts = final.train_on(context, chosen, seconds(time_limit))
    export.write(encoder, output, context.preprocessing, context.card_facts({"candidate": chosen.candidate, **facts}))
    return output


def evaluate(run: str | Path, data: str | None, labels: str | None, label_column: str | None) -> dict[str, Any]:
    """Metrics of the adapted model with 95 % intervals: on the study's test part (counted) or on other images."""
    context = open_context(existing(run))
    if not context.folder.model.is_dir():
        raise UserError(f"a finished study was wanted, but {run} has no model yet; see autossl status")
    model = export.load(context.folder.model)
    if data is None:
        context.remember(tests=int(context.state("tests") or 0) + 1)
        rows = context.rows(TEST, labelled=True)
        images, y, groups = np.asarray(context.data.images[rows]), context.data.labels[rows], context.groups(rows)
    else:
        p = model.preprocessing
        found = read_images(
            data, image_size=p.image_size, channels=model.channels, scale=p.scale, dims=p.dims,
            window=p.window, classes=model.classes, labels=labels, label_column=label_column,
        )  # fmt: skip
        if found.labels is None or not (found.labels >= 0).any():
            raise UserError(
                f"labelled images were wanted, found none in --data {data}; give --labels or --label-column"
            )
        kept = found.labels >= 0
        images, y, groups = found.images[kept], found.labels[kept], None
    scores = model.logits(images)
    values = context.target.metrics(y, scores)
    draws = bootstrap(y, scores, groups, draws=1000)
    return {
        "images": len(y),
        **{name: round(value, 4) for name, value in values.items()},
        "interval": {name: [round(float(v), 4) for v in interval(found)] for name, found in draws.items()},
    }
