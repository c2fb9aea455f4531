"""What the end of a study writes: encoders and models as folders, read again after a kill, and candidates as facts."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autossl.finish.anneal import hyperparameters_of
from autossl.model import export
from autossl.model.ensemble import Ensemble
from autossl.model.entrants import ENTRANTS
from autossl.model.load import load
from autossl.model.model import Meaning, Model
from autossl.nn.encoder import Encoder, channels_last
from autossl.record.entries import Entry
from autossl.targets import Readout
from autossl.trials.context import Context
from autossl.trials.starts import Start, at_random, rescaling


def write(
    context: Context, encoder: Encoder, path: Path, facts: dict[str, Any], head: Readout | None = None,
    start: Start | None = None,
) -> None:  # fmt: skip
    """Export an encoder, with a head as a model; `start` as for `Context.card_facts`."""
    write_model(context, [(encoder, head)], path, facts, start)


def write_model(
    context: Context, networks: Sequence[tuple[Encoder, Readout | None]], path: Path, facts: dict[str, Any],
    start: Start | None,
) -> None:  # fmt: skip
    """Export a network with its readout, or several that answer together."""
    truth = context.data.truth
    meaning = Meaning(context.target.task, truth.form, truth.about)
    models = [
        Model(encoder, context.preprocessing(encoder), head, None if head is None else meaning)
        for encoder, head in networks
    ]
    model = models[0] if len(models) == 1 else Ensemble(models)
    export.write(model, path, context.card_facts(facts, start))


def begun(context: Context, name: str) -> Start:
    """What the network of this arm began with."""
    if name.startswith("weights"):
        start = context.given if name == "weights" else context.trains
        assert start is not None
        return start
    return context.begins if ENTRANTS[name].role == "winner" else at_random(context.config)


def read_again(context: Context, path: Path, name: str = "winner") -> tuple[Encoder, Model]:
    """The encoder of an arm that was exported, in the very form that it had before, and as it was read."""
    model = load(path).to(context.device)
    encoder, p = model.encoder, model.preprocessing
    channels_last(encoder, encoder.dims)
    encoder.low_precision = (begun(context, name).precision or context.config.precision) == "bf16"
    if (by := (context.data.mean, context.data.std)) != (p.mean, p.std):
        encoder = copy.deepcopy(encoder)
        encoder.rescale(rescaling(by, (p.mean, p.std)))
    return encoder, model


def described(context: Context, entry: Entry) -> dict[str, Any]:
    """A candidate as facts."""
    _, hyperparameters = hyperparameters_of(context, entry)
    found = {
        "number": entry.candidate,
        "method": entry.method,
        "paradigm": entry.paradigm,
        "rung": entry.rung,
        "hyperparameters": hyperparameters,
    }
    return {**found, "aligned_score": entry.score, "se": entry.se} if context.target.ranks else found
