"""Images made worse in a known way, the same way every time: pairs of what is seen and what should have been."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from autossl.data.dataset import Pixels, Source
from autossl.data.store import digest, read
from autossl.data.truth import Pairs, Truth
from autossl.errors import UserError
from autossl.errors.printable import shown

Field = NDArray[np.float64]  # ([d,] h, w, c) in [0, 1] where it was not made worse
Degrade = Callable[[Field, float, np.random.Generator], Field]

CENTRE = 0.08  # share of the lines of k-space that undersampling always keeps (fastMRI, Zbontar et al. 2018)
MOVES = 8  # of a patient while an image is taken


class Degradation(NamedTuple):
    """One way to make images worse by a number: what that is, and between which values it lies."""

    words: str
    low: float
    high: float
    of: Degrade


def noise(image: Field, level: float, random: np.random.Generator) -> Field:
    """Gaussian noise of this standard deviation, in grey levels of 255."""
    return image + random.normal(0, level / 255, image.shape)


def poisson(image: Field, photons: float, random: np.random.Generator) -> Field:
    """Shot noise where white is so many photons."""
    return random.poisson(np.clip(image, 0, None) * photons) / photons


def downsample(image: Field, factor: float, random: np.random.Generator) -> Field:
    """The mean of every `factor` pixels along each axis, brought back to the size by cubic splines."""
    step, axes = round(factor), range(image.ndim - 1)
    lacking = [(0, -image.shape[axis] % step) for axis in axes]
    coarse = np.pad(image, (*lacking, (0, 0)), mode="symmetric")
    for axis in axes:
        shape = (*coarse.shape[:axis], coarse.shape[axis] // step, step, *coarse.shape[axis + 1 :])
        coarse = coarse.reshape(shape).mean(axis + 1)
    fine = ndimage.zoom(coarse, (*[step] * len(axes), 1), order=3, mode="reflect", grid_mode=True)
    return np.asarray(fine[tuple(slice(side) for side in image.shape[:-1])])


def blur(image: Field, width: float, random: np.random.Generator) -> Field:
    """A Gaussian of this standard deviation in pixels."""
    return np.asarray(ndimage.gaussian_filter(image, (*[width] * (image.ndim - 1), 0), mode="reflect"))


def undersampling(image: Field, factor: float, random: np.random.Generator) -> Field:
    """As MR with every `factor`-th line of k-space by lot, those in the middle always; the magnitude is kept."""
    axis, lines = image.ndim - 3, image.shape[-3]
    middle = max(1, round(CENTRE * lines))
    far = np.abs(np.fft.fftfreq(lines, 1 / lines))
    kept = far <= np.sort(far)[middle - 1]
    others = np.flatnonzero(~kept)
    wanted = max(0, round(lines / factor) - int(kept.sum()))
    kept[random.permutation(others)[:wanted]] = True
    shape = [1] * image.ndim
    shape[axis] = lines
    return np.abs(np.fft.ifft(np.fft.fft(image, axis=axis) * kept.reshape(shape), axis=axis))


def motion(image: Field, extent: float, random: np.random.Generator) -> Field:
    """As MR of a patient who moves now and then by a few pixels (their standard deviation): each move shifts what is
    taken from then on, line by line of k-space."""
    axis, lines = image.ndim - 3, image.shape[-3]
    moves = np.sort(random.integers(0, lines, MOVES))
    place = np.concatenate([[0.0], random.normal(0, extent, MOVES)])[np.searchsorted(moves, np.arange(lines), "right")]
    place -= place[lines // 2]  # the middle of k-space says where the image lies
    shape = [1] * image.ndim
    shape[axis] = lines
    across = np.fft.fftfreq(image.shape[-2]).reshape(-1, 1)
    spectrum = np.fft.fftshift(np.fft.fft2(image, axes=(axis, axis + 1)), axes=axis)
    turned = spectrum * np.exp(-2j * np.pi * across * place.reshape(shape))
    return np.abs(np.fft.ifft2(np.fft.ifftshift(turned, axes=axis), axes=(axis, axis + 1)))


DEGRADATIONS: dict[str, Degradation] = {
    "noise": Degradation("standard deviation of Gaussian noise in grey levels of 255", 0.1, 255, noise),
    "poisson": Degradation("photons of a white pixel", 1, 1e6, poisson),
    "downsample": Degradation("times fewer pixels along each axis, a whole number", 2, 16, downsample),
    "blur": Degradation("standard deviation of a Gaussian in pixels", 0.1, 20, blur),
    "undersampling": Degradation("times fewer lines of k-space", 1.1, 32, undersampling),
    "motion": Degradation("standard deviation of movements in pixels", 0.1, 50, motion),
}


def parsed(text: str) -> tuple[Degradation, float]:
    """The degradation and the number of "noise:25"; UserError for anything else."""
    name, _, number = text.partition(":")
    known = ", ".join(f"{each}:NUMBER" for each in DEGRADATIONS)
    row = DEGRADATIONS.get(name)
    if row is None:
        raise UserError(f"a degradation was wanted ({known}), found --degradation {shown(text)!r}; choose one of these")
    try:
        level = float(number)
    except ValueError:
        level = np.nan
    whole = name != "downsample" or level == round(level) if np.isfinite(level) else False
    if not (row.low <= level <= row.high and whole):
        raise UserError(
            f"{name}:NUMBER from {row.low:g} to {row.high:g} ({row.words}) was wanted, found --degradation "
            f"{shown(text)!r}; give a number in between"
        )
    return row, level


def check(text: str | None, form: type[Truth]) -> None:
    """UserError where a degradation is asked for that is none, or for labels that are no images."""
    if text is None:
        return
    parsed(text)
    if form is not Pairs:
        raise UserError(
            f"a task with target images was wanted (--task reconstruction), found --degradation {text}; leave it out"
        )


def paired(source: Source, text: str) -> Source:
    """Images that are their own targets, made worse; UserError where they have others."""
    if source.truth.known.any():
        raise UserError(
            f"images with targets, or images and --degradation {text}, were wanted, found both in {source.place}; "
            "leave one out"
        )
    return degraded(source, text)


def degraded(source: Source, text: str, told: bool = True) -> Source:
    """A source whose images are made worse so; what they were are their targets, where that is to be `told`.

    An image is always made worse alike: its own pixels are the seed. Where it is not known what white is, the largest
    value of an image is.
    """
    row_of, level = parsed(text)
    changed = replace(
        source,
        read=lambda row: worse(read(source, row), int(source.white[row]), row_of.of, level),
        key=f"{source.key} {text}",
        array=None,
        notes=(*source.notes, f"images were made worse by {text}, what they were are their targets"),
    )
    if not told:
        return changed
    there = np.ones(source.n, dtype=bool)
    truth = Pairs(there, raw=lambda row: read(source, row), degradation=text)
    return replace(changed, truth=truth, like=lambda row, values: values)


def worse(image: Pixels, white: int, degrade: Degrade, level: float) -> Pixels:
    """An image ([d,] h, w, c) made worse, in its own type and range."""
    top = float(white or max(1, int(image.max())))
    random = np.random.default_rng(np.frombuffer(digest(image).tobytes(), np.uint32))
    found: Any = degrade(image / top, level, random)
    return np.asarray(np.rint(np.clip(found, 0, 1) * top), dtype=image.dtype)
