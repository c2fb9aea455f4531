"""Generates sample:volumes, synthetic CT of five kinds of liver lesions from 240 made-up patients.

Nothing in it was ever scanned. Kinds differ in how the parts of a lesion lie to each other: mosaic, septa, nodules at
the margin, a scar in the middle, a rim. Size, outline, mean and spread of what a lesion takes up are drawn alike for
all kinds, so that size and brightness tell little. Phase of the contrast, shading, vessels, position, sharpness and
dose differ by patient or lesion.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfftn, rfftn

from autossl.data.readers.found import Found
from autossl.data.truth.naming import LABEL

SIZE = 24
PATIENTS, PER_PATIENT = 240, 5
KINDS = ("carcinoma", "cystadenoma", "haemangioma", "hyperplasia", "metastasis")
MIX = (0.2, 0.2, 0.2, 0.18, 0.22)
BLACK, WHITE = -60.0, 240.0  # Hounsfield units of 0 and 255
LOW_DOSE = "noise:25"  # where pairs of scans are wanted: 30 Hounsfield units
SPACE = (1, 2, 3)  # axes of volumes (b, 24, 24, 24)

Field = NDArray[np.floating[Any]]  # float32; NumPy's types lose that on the way


def read_lesions() -> Found:
    """The sample as any other data: labels and patient ids, no official split."""
    volumes, labels, patients, masks = scans()
    return Found(
        "sample:volumes",
        "sample:volumes",
        volumes[..., None],
        labels={LABEL: [KINDS[label] for label in labels]},
        patients=[f"synthetic {patient}" for patient in patients],
        masks=masks,
        structures={1: "lesion"},
        degraded=LOW_DOSE,
        notes=("sample:volumes is synthetic: generated volumes of made-up patients, for trying things out only",),
    )


def generate(
    patients: int = PATIENTS, per_patient: int = PER_PATIENT, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Volumes (n, 24, 24, 24), kinds (n,) and patients (n,), n = patients * per_patient; the same for the same seed."""
    return scans(patients, per_patient, seed)[:3]


def scans(
    patients: int = PATIENTS, per_patient: int = PER_PATIENT, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """As `generate`, and masks of the lesions (n, 24, 24, 24): 1 inside."""
    volumes, kinds, masks = [], [], []
    for patient in range(patients):
        random = np.random.default_rng([seed, patient])
        kind = random.choice(len(KINDS), size=per_patient, p=random.dirichlet(np.array(MIX) * 8))
        scan = _Scan(random, per_patient)
        volumes.append(scan.read(kind))
        masks.append(scan.mask)
        kinds.append(kind)
    owners = np.repeat(np.arange(patients), per_patient)
    return np.concatenate(volumes), np.concatenate(kinds).astype(np.int64), owners, np.concatenate(masks)


class _Scan:
    """One patient's scan, of which b lesions are cut out: liver and blood after contrast, sharpness and dose."""

    def __init__(self, random: np.random.Generator, b: int) -> None:
        self.random, self.b = random, b
        self.liver = np.float32(random.normal(105, 14))  # Hounsfield units; fat lowers them
        self.blood = np.float32(random.uniform(30, 80))  # above liver
        self.blur = round(random.uniform(0.4, 0.9), 2)  # standard deviation in voxels
        self.noise = np.float32(random.uniform(4, 12))

    def read(self, kind: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(b,) kinds -> (b, 24, 24, 24), each around one lesion."""
        values = self.liver + 4 * self._noise(2.5) + self.blood * self._vessels()
        inside, parts = self._lesions(kind)
        self.mask = (inside > 0.5).astype(np.uint8)
        lesion = self.liver + self._normal(18) + 36 * self._vary(0.25) * parts
        values = values + inside * (lesion - values) + 8 * self._noise(7.0)  # what hardened beams leave as shading
        seen = _smooth(values, self.blur) + self.noise * self._noise(0.6)
        return np.asarray(np.clip(np.rint((seen - BLACK) / (WHITE - BLACK) * 255), 0, 255), dtype=np.uint8)

    def _lesions(self, kind: NDArray[np.int64]) -> tuple[Field, Field]:
        """Soft masks, and what the parts of each lesion take up: of mean 0 and variance 1 inside it."""
        radius = np.clip(8.2 * self._vary(0.12), 6.0, 10.5)  # voxels
        stretched = [axis * self._vary(0.1) for axis in self._grid(self.random.normal(0, 1, (3, self.b)))]
        outline = radius * (1 + 0.1 * self._vary(0.3) * self._noise(2.5))
        far = np.sqrt(sum(axis**2 for axis in stretched)) / outline  # 0 in the middle, 1 at the outline
        inside = _soft((1 - far) * radius / 0.6)
        coarse, fine = self._noise(2.2), self._noise(1.8)
        width = 0.22 * self._vary(0.15)
        rim = np.exp(-(((1 - width - far) / width) ** 2))
        scar = _soft((0.38 * self._vary(0.15) * (1 + 0.45 * fine) - far) * radius / 0.8)
        septa = np.exp(-((fine / 0.35) ** 2))
        parts = np.choose(
            kind[:, None, None, None], (np.tanh(2 * coarse), septa, rim * _soft(4 * coarse - 0.8), -scar, rim)
        )
        weight = inside / inside.sum(SPACE, keepdims=True)
        parts = parts - (weight * parts).sum(SPACE, keepdims=True)
        return inside, parts / np.sqrt((weight * parts**2).sum(SPACE, keepdims=True))

    def _vessels(self) -> Field:
        """Two straight tubes of some radii in random directions: (b, 24, 24, 24), 1 inside."""
        inside = np.zeros((self.b, SIZE, SIZE, SIZE), dtype=np.float32)
        for _ in range(2):
            direction = self.random.normal(size=(3, self.b, 1, 1, 1)).astype(np.float32)
            direction /= np.linalg.norm(direction, axis=0)
            grid = self._grid(self.random.uniform(-11, 11, (3, self.b)))
            along = sum(share * axis for share, axis in zip(direction, grid, strict=True))
            across = np.sqrt(np.maximum(sum(axis**2 for axis in grid) - along**2, 0))
            radius = self.random.uniform(0.8, 1.8, (self.b, 1, 1, 1)).astype(np.float32)
            inside = np.maximum(inside, _soft((radius - across) / 0.5))
        return inside

    def _grid(self, centre: NDArray[np.float64]) -> list[Field]:
        """Coordinates z, y and x around centres (3, b) given from the middle of the volume; they broadcast."""
        axis = np.arange(SIZE, dtype=np.float32) - np.float32((SIZE - 1) / 2)
        axes = (axis[:, None, None], axis[:, None], axis)
        return [along - at.astype(np.float32)[:, None, None, None] for along, at in zip(axes, centre, strict=True)]

    def _normal(self, spread: float) -> Field:
        return self.random.normal(0, spread, (self.b, 1, 1, 1)).astype(np.float32)

    def _vary(self, spread: float) -> Field:
        return np.exp(self._normal(spread))

    def _noise(self, width: float) -> Field:
        """Smooth noise of unit variance, (b, 24, 24, 24)."""
        field = _smooth(self.random.standard_normal((self.b, SIZE, SIZE, SIZE), dtype=np.float32), width)
        return np.asarray(field / field.std(SPACE, keepdims=True))


def _smooth(volumes: Field, width: float) -> Field:
    """Volumes (b, 24, 24, 24) under a Gaussian of so many voxels, periodic at the border."""
    spectrum = rfftn(volumes, axes=SPACE) * _transfer(width)
    return np.asarray(irfftn(spectrum, s=volumes.shape[1:], axes=SPACE))


@cache
def _transfer(width: float) -> Field:
    """What is left of each frequency, (24, 24, 13)."""
    full, half = np.fft.fftfreq(SIZE), np.fft.rfftfreq(SIZE)
    squares = full[:, None, None] ** 2 + full[:, None] ** 2 + half**2
    return np.asarray(np.exp(-2 * (np.pi * width) ** 2 * squares), dtype=np.float32)


def _soft(value: Field) -> Field:
    """A soft step from 0 to 1."""
    return np.asarray(0.5 * (1 + np.tanh(value)), dtype=np.float32)
