"""The given weights of a study: found, described for its settings, and refused where they do not fit."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autossl.data import Source
from autossl.errors import UserError
from autossl.nn.encoder import Encoder, fit_to_size
from autossl.nn.weights import AUTO, NONE, Weights, available, known, load_weights, sha256, weights_of

MOST_PARAMETERS = {"cpu": 30e6, "cuda": 400e6}  # of weights that nobody named: larger ones would take the whole time


@dataclass(frozen=True)
class Given:
    """Weights of a study, and an encoder that takes its images as they are."""

    weights: Weights
    encoder: Encoder

    @property
    def facts(self) -> dict[str, Any]:
        """What the settings hold of them."""
        weights, encoder = self.weights, self.encoder
        told = {
            # a folder may be called anything, and the name is passed on
            "name": os.path.basename(weights.file) if os.path.exists(weights.name) else weights.name,
            "file": os.path.abspath(weights.file),  # a link stays one: what it leads to may be called anything
            "backbone": encoder.name,
            "model_args": encoder.model_args,
            "upsample": encoder.upsample,
            "size": weights.size,
            "objective": weights.objective,
            "licence": "; ".join(filter(None, (weights.licence, weights.shares_outputs))) or None,
        }
        if (statistics := weights.statistics(encoder.channels)) is not None:
            told |= {"mean": list(statistics[0]), "sd": list(statistics[1])}
        return {name: value for name, value in told.items() if value is not None}


def given(asked: Sequence[str], source: Source, size: int, backbone: str, device: str) -> list[Given]:
    """The weights that were asked for, each with an encoder for images of this size; those that do not say of which
    architecture they are, are of `backbone`.

    Of those that nobody named ("auto") what is too large for the device or does not fit is passed over. Raises
    UserError where named ones cannot be had or do not fit.
    """
    if tuple(asked) == (AUTO,):
        found = [_given(weights, source, size, backbone, named=False) for weights in _suitable(source, device)]
    else:
        texts = [text for text in asked if text != NONE]
        found = [_given(weights_of(text), source, size, backbone, named=True) for text in texts]
    return [each for each in found if each is not None]


def _suitable(source: Source, device: str) -> list[Weights]:
    most = MOST_PARAMETERS["cpu" if device == "cpu" else "cuda"]
    return [found for found in available(source.dims, source.channels) if known()[found.name].parameters * 1e6 <= most]


def _given(weights: Weights, source: Source, size: int, backbone: str, named: bool) -> Given | None:
    name = backbone
    if weights.architecture is not None and weights.dims in (source.dims, None):
        name = weights.architecture
    try:
        model_args, upsample = fit_to_size(name, source.channels, size)
        encoder = Encoder(name, source.channels, size, model_args=model_args, upsample=upsample)
        return Given(weights, load_weights(encoder, weights))
    except UserError:
        if named:
            raise
        return None


def settings(found: Sequence[Given], asked: Sequence[str], start: str) -> Mapping[str, Any]:
    """The settings that say which weights a study has, and where candidates begin; nothing without any."""
    paths = [os.path.abspath(text) if os.path.exists(text) else text for text in asked]
    facts = [each.facts for each in found]
    for at, each in enumerate(facts):
        if alike := sum(other.weights.file.name == found[at].weights.file.name for other in found[:at]):
            each["name"] += f" ({alike + 1})"
    return {
        "weights": tuple(paths),
        "weights_sha256": tuple(sha256(str(each.weights.file)) for each in found),
        "given": tuple(facts),
        "start": start if found else None,
    }
