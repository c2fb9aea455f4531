"""The starts of a study: random weights and given ones, each an architecture with its input size and normalisation."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from autossl.nn.encoder import Encoder, channels_last, dims_of, enlarged
from autossl.nn.intake import Rescaling
from autossl.record.config import StudyConfig

RANDOM = "random"
MOST_ENLARGED = {2: 8, 3: 2}  # times as many pixels or voxels a side
SMALL = 96  # pixels a side from which on images need not be enlarged where it is not known what the weights learnt from

Floats = tuple[float, ...]


@dataclass(frozen=True)
class Start:
    """What an encoder is before its first step: an architecture, how its input is made, and its weights.

    `mean` and `std` are those by which its input is standardised, None: those of the data. `place` is that of its
    weights among the given ones; None: they are random.
    """

    name: str
    backbone: str
    model_args: Mapping[str, Any] = field(default_factory=dict[str, Any])
    upsample: int = 1
    mean: Floats | None = None
    std: Floats | None = None
    place: int | None = None
    precision: str | None = None  # in which it is trained; None: that of the study
    trained: tuple[str, ...] = ()  # what of given weights may be trained, the first choice first
    layer_decay: float = 1.0  # a layer's share of the rate of the one after it, where all are trained

    @property
    def given(self) -> bool:
        """Whether its weights are given ones."""
        return self.place is not None

    def rescaled(self, mean: Floats, std: Floats) -> Rescaling | None:
        """From images that are standardised by the mean and sd of the data to its own normalisation."""
        return None if self.mean is None or self.std is None else rescaling((mean, std), (self.mean, self.std))

    def words(self, side: int) -> str:
        """Its name, and its input where that is not the images as they are: lite0 (96 px, own normalisation)."""
        unit = "px" if dims_of(self.backbone) == 2 else "voxels"
        size = [f"{self.upsample * side} {unit}"] if self.upsample > 1 else []
        told = ", ".join([*size, *(["own normalisation"] if self.mean is not None else [])])
        return f"{self.name} ({told})" if told else self.name

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "trained": list(self.trained)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The start that `to_dict` wrote."""
        pairs = {name: None if values[name] is None else tuple(values[name]) for name in ("mean", "std")}
        return cls(**{**values, **pairs, "trained": tuple(values.get("trained", ()))})


def rescaling(by: tuple[Floats, Floats], wanted: tuple[Floats, Floats]) -> Rescaling:
    """Factors and summands that turn values standardised `by` a mean and sd into those standardised as `wanted`."""
    (mean, std), (new_mean, new_std) = by, wanted
    factors = tuple(s / n for s, n in zip(std, new_std, strict=True))
    summands = tuple((m - n) / s for m, n, s in zip(mean, new_mean, new_std, strict=True))
    return factors, summands


def rescaled(mean: Floats, std: Floats, by: Rescaling | None) -> tuple[Floats, Floats]:
    """The mean and sd by which images are standardised that are standardised by these first, and rescaled then."""
    if by is None:
        return mean, std
    new_std = tuple(s / factor for s, factor in zip(std, by[0], strict=True))
    return tuple(m - summand * n for m, summand, n in zip(mean, by[1], new_std, strict=True)), new_std


def at_random(config: StudyConfig) -> Start:
    """Random weights in the architecture of the study, on images as they are."""
    return Start(RANDOM, config.backbone, config.model_args, config.upsample)


def plainest(config: StudyConfig, place: int) -> Start:
    """Given weights on images as they are, as far as the architecture allows."""
    facts = config.given[place]
    args, upsample = facts["model_args"], facts["upsample"]
    return Start(facts["name"], facts["backbone"], args, upsample, place=place)


def ways(config: StudyConfig, channels: int, place: int | None) -> Iterator[Start]:
    """Ways to feed these weights, the cheapest first: images as they are and enlarged, in each normalisation.

    Images are enlarged towards the size that the weights have learnt from; random ones are shown as they are.
    """
    if place is None:
        yield at_random(config)
        return
    plain, facts = plainest(config, place), config.given[place]
    own = None if facts.get("mean") is None else (tuple(facts["mean"]), tuple(facts["sd"]))
    most = MOST_ENLARGED[dims_of(plain.backbone)]
    for factor in factors(config.image_size, facts.get("size"), plain.upsample, most):
        args = plain.model_args
        if factor != plain.upsample:
            found = enlarged(plain.backbone, channels, config.image_size, factor)
            if found is None:
                continue
            args = found
        for mean, std in [(None, None), own] if own else [(None, None)]:
            yield Start(plain.name, plain.backbone, args, factor, mean, std, place)


def factors(side: int, learnt: int | None, least: int, most: int) -> list[int]:
    """By how much images of this side are enlarged, up to three ways: not, to about SMALL, to about what was learnt.

    `least` is what the architecture needs, and more than `most` is too dear.
    """
    most = max(1, min(most, round((learnt or SMALL) / side)))
    some = max(1, min(most, round(SMALL / side)))
    return sorted({max(least, factor) for factor in (1, some, most)})


def new_encoder(
    config: StudyConfig, channels: int, device: torch.device, seed: int, start: Start, where: str | Path = ""
) -> Encoder:
    """An encoder with random weights in the architecture of a start; the settings stand in the file `where`."""
    torch.manual_seed(seed)
    encoder = Encoder(
        start.backbone,
        channels,
        config.image_size,
        model_args=dict(start.model_args),
        upsample=start.upsample,
        where=where,
    )
    encoder.low_precision = (start.precision or config.precision) == "bf16"
    channels_last(encoder, encoder.dims)
    return encoder.to(device)
