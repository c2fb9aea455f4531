"""Generates sample:cells, a synthetic smear of stained blood cells of six kinds from 160 made-up patients.

Light is absorbed by two stains after Beer and Lambert. Kinds differ in the lobes of the nucleus, its chromatin,
granules, size, nucleus-to-cytoplasm ratio and basophilia, with overlapping ranges; stain, light, focus and
magnification differ by patient and slide, so that colour alone tells little. What is drawn is known: areas, the age of
the stain, lobes, granules and the like are labels for other tasks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from autossl.data.parts import OFFICIAL_TEST, TRAIN
from autossl.data.readers.found import Found
from autossl.data.truth.spelling import cells

SIZE = 32
PATIENTS, PER_PATIENT = 160, 25
MOST_GRADE = 4  # lobes or more: few nuclei have five
TESTED, LABELLED = 40, 2  # patients of the test part, and labelled images of each of the others
LOBES = 5
KINDS = ("basophil", "eosinophil", "erythroblast", "lymphocyte", "monocyte", "neutrophil")
MIX = (0.10, 0.15, 0.13, 0.20, 0.17, 0.25)

# one column per kind, in the order of KINDS
CELL_RADIUS = (9.0, 9.8, 7.6, 8.0, 10.6, 9.6)  # pixels
NUCLEUS_RADIUS = (0.66, 0.60, 0.55, 0.76, 0.66, 0.58)  # of the cell, if it were one disc
LOBE_COUNT = (2.2, 2.3, 1.0, 1.0, 2.6, 3.4)
LOBE_SPREAD = (0.55, 0.85, 0.0, 0.10, 0.62, 0.95)  # of the nucleus, distance between neighbouring lobes
NUCLEUS_AZURE = (1.05, 1.10, 1.40, 1.25, 0.95, 1.20)  # absorbance
CLUMPING = (0.10, 0.14, 0.20, 0.14, 0.12, 0.16)  # amplitude of coarse chromatin
LACE = (0.08, 0.10, 0.05, 0.06, 0.28, 0.10)  # amplitude of fine chromatin
PLASM_AZURE = (0.20, 0.16, 0.26, 0.36, 0.30, 0.15)
PLASM_EOSIN = (0.20, 0.26, 0.26, 0.12, 0.15, 0.22)
COARSE = (0.9, 0.9, 0.0, 0.0, 0.0, 0.05)  # absorbance of coarse granules
FINE = (0.1, 0.1, 0.0, 0.05, 0.12, 0.30)  # absorbance of fine granules
GRANULE_AZURE = (0.95, 0.15, 0.5, 0.7, 0.6, 0.45)  # share of azure in granules, the rest is eosin
OVER_NUCLEUS = (0.85, 0.15, 0.0, 0.0, 0.0, 0.1)  # share of granules that lie over the nucleus

AZURE = np.array([0.80, 0.95, 0.28])  # absorbance of red, green, blue per unit of stain
EOSIN = np.array([0.10, 0.85, 0.50])
HAEMOGLOBIN = np.array([0.10, 0.48, 0.46])

# what is drawn, as columns of labels by their form; "maturity" counts the lobes of the nucleus
NUMBERS, GRADES = ("nuclear_area", "stain_age"), ("maturity",)  # square pixels, days
FINDINGS = ("granules", "lobed", "basophilia", "large_nucleus")
USUAL = {"classes": ("kind",), "values": NUMBERS, "grades": GRADES, "labels": FINDINGS}
STRUCTURES = {1: "plasm", 2: "nucleus"}  # values of masks
PHOTONS = "poisson:20"  # of a camera in little light, where pairs of images are wanted
ORDINARY_AGE, FADING = 90.0, 0.01  # days of a slide of ordinary azure; the share of it that fades a day
GRANULAR, MANY_LOBES, BASOPHILIC, LARGE = 0.1, 3, 0.28, 0.5  # absorbance a cell, lobes, absorbance, share of the cell

Field = NDArray[np.floating]
Drawn = dict[str, NDArray[np.float64]]  # by column: (n,), or (n, 32, 32)


def read_cells() -> Found:
    """The sample as any other data: columns of labels, patient ids, a labelled test part, and few labels outside it."""
    images, kinds, patients, drawn = smear()
    test = patients >= PATIENTS - TESTED
    known = test | (np.arange(len(images)) % PER_PATIENT < LABELLED)
    drawn["maturity"] = np.minimum(drawn["maturity"], MOST_GRADE)
    masks = drawn.pop("mask").astype(np.uint8)
    columns = {name: cells(column.tolist(), "sample:cells") for name, column in drawn.items()}
    columns = {"kind": [KINDS[kind] for kind in kinds], **columns}
    told = f"{LABELLED} images of each patient, and all images of the {TESTED} patients in its test part"
    return Found(
        "sample:cells",
        "sample:cells",
        images,
        labels={
            name: [cell if here else "" for cell, here in zip(c, known, strict=True)] for name, c in columns.items()
        },
        usual=USUAL,
        masks=[mask if here else None for mask, here in zip(masks, known, strict=True)],
        structures=STRUCTURES,
        degraded=PHOTONS,
        patients=[f"synthetic {patient}" for patient in patients],
        split=np.where(test, OFFICIAL_TEST, TRAIN).astype(np.int8),
        notes=(
            "sample:cells is synthetic: generated images of made-up patients, for trying things out only; labelled are "
            f"{told}",
        ),
    )


def generate(
    patients: int = PATIENTS, per_patient: int = PER_PATIENT, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Images (n, 32, 32, 3), kinds (n,) and patients (n,), n = patients * per_patient; the same for the same seed."""
    images, kinds, owners, _ = smear(patients, per_patient, seed)
    return images, kinds, owners


def smear(
    patients: int = PATIENTS, per_patient: int = PER_PATIENT, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], Drawn]:
    """As `generate`, and what was drawn: the columns of NUMBERS, GRADES and FINDINGS, and "mask" (n, 32, 32)."""
    images, kinds, drawn = [], [], []
    for patient in range(patients):
        random = np.random.default_rng([seed, patient])
        kind = random.choice(len(KINDS), size=per_patient, p=random.dirichlet(np.array(MIX) * 12))
        slide = Slide(random)
        images.append(slide.photograph(kind))
        kinds.append(kind)
        drawn.append(slide.drawn)
    columns = {name: np.concatenate([of_slide[name] for of_slide in drawn]) for name in drawn[0]}
    owners = np.repeat(np.arange(patients), per_patient)
    return np.concatenate(images), np.concatenate(kinds).astype(np.int64), owners, columns


@dataclass(frozen=True)
class _Nuclei:
    """Soft masks (b, 32, 32) of nucleus and cell, and the lobes (b,) of nuclei."""

    nucleus: Field
    cell: Field
    lobes: Field


class Slide:
    """One patient's smear: its stain, light and magnification, and what was drawn on it."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.drawn: Drawn = {}
        self.azure = AZURE * random.lognormal(0, 0.10, 3) * random.lognormal(0, 0.22)
        self.eosin = EOSIN * random.lognormal(0, 0.12, 3) * random.lognormal(0, 0.30)
        self.blood = HAEMOGLOBIN * random.lognormal(0, 0.12, 3) * random.lognormal(0, 0.20)
        self.light = np.clip(random.normal(0.90, 0.035) + random.normal(0, 0.03, 3), 0.75, 0.99)
        self.zoom = random.lognormal(0, 0.08)
        self.plasma = random.uniform(0.0, 0.06)
        self.crowding = random.uniform(0.5, 3.0)

    def photograph(self, kind: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(b,) kinds -> (b, 32, 32, 3)."""
        return self.developed(self._background(len(kind)) + self.cells(kind))

    def developed(self, absorbed: Field) -> NDArray[np.uint8]:
        """What a camera makes of absorbance (b, side, side, 3)."""
        bright = self.light * self._shading(*absorbed.shape[:2]) * np.exp(-absorbed)
        focus = self.random.gamma(4, 0.12, len(absorbed))
        pairs = zip(bright, focus, strict=True)
        blurred = np.stack([gaussian_filter(image, (width, width, 0), truncate=3) for image, width in pairs])
        noisy = blurred + self.random.normal(0, 0.014, blurred.shape) * np.sqrt(blurred)
        return np.asarray(np.clip(np.rint(noisy * 255), 0, 255), dtype=np.uint8)

    def cells(self, kind: NDArray[np.int64]) -> Field:
        """Absorbance (b, 32, 32, 3) of cells of these kinds alone, in the middle; `drawn` holds what they are."""
        masks = self._shapes(kind)
        plasm = masks.cell * (1 - masks.nucleus)
        coarse, fine = self._granules(len(kind), 0.75, 1.0), self._granules(len(kind), 0.45, 0.8)
        grain = _of(COARSE, kind) * coarse + _of(FINE, kind) * fine
        grain = grain * (plasm + _of(OVER_NUCLEUS, kind) * masks.nucleus) * self._vary(kind, 0.3)
        share = _of(GRANULE_AZURE, kind)
        chromatin = (
            1 + _of(CLUMPING, kind) * self._noise(len(kind), 1.6) + _of(LACE, kind) * self._noise(len(kind), 0.8)
        )
        azure = masks.nucleus * np.clip(chromatin, 0.2, None) * _of(NUCLEUS_AZURE, kind) * self._vary(kind, 0.12)
        texture = 1 + 0.18 * self._noise(len(kind), 1.2)
        blue = self._vary(kind, 0.35)
        azure = azure + plasm * texture * _of(PLASM_AZURE, kind) * blue + grain * share
        eosin = plasm * texture * _of(PLASM_EOSIN, kind) * self._vary(kind, 0.35) + grain * (1 - share)
        eosin = eosin + 0.18 * masks.nucleus
        self.drawn = self._measured(masks, grain, (_of(PLASM_AZURE, kind) * blue)[:, 0, 0])
        return np.asarray(azure[..., None] * self.azure + eosin[..., None] * self.eosin)

    def _measured(self, masks: _Nuclei, grain: Field, plasm_azure: Field) -> Drawn:
        """What a look at the cells (b,) would tell; nothing is drawn from the generator."""
        nucleus, cell = (mask.sum((1, 2), dtype=np.float64) for mask in (masks.nucleus, masks.cell))
        strength = float((self.azure / AZURE).mean())
        found = {
            "nuclear_area": np.round(nucleus, 2),
            "stain_age": np.full(len(cell), round(ORDINARY_AGE - np.log(strength) / FADING, 1)),
            "maturity": masks.lobes,
            "granules": grain.sum((1, 2), dtype=np.float64) / cell > GRANULAR,
            "lobed": masks.lobes >= MANY_LOBES,
            "basophilia": plasm_azure > BASOPHILIC,
            "large_nucleus": nucleus / cell > LARGE,
            "mask": np.where(masks.nucleus > 0.5, 2, masks.cell > 0.5),
        }
        return {name: np.asarray(column, dtype=np.float64) for name, column in found.items()}

    def _shapes(self, kind: NDArray[np.int64]) -> _Nuclei:
        b = len(kind)
        radius = _of(CELL_RADIUS, kind) * self.zoom * self._vary(kind, 0.09)
        x, y = self._grid(self.random.normal(0, 1.3, (2, b)))
        cell = _soft((radius * self._wobble(x, y, 0.05) - np.hypot(x, y)) / 0.6)
        core = radius * _of(NUCLEUS_RADIUS, kind) * self._vary(kind, 0.08)
        lobes = np.clip(np.rint(_of(LOBE_COUNT, kind) + self.random.normal(0, 0.65, (b, 1, 1))), 1, LOBES)
        lobes = np.where(_of(LOBE_SPREAD, kind) < 0.3, 1, lobes)
        shift = self.random.normal(0, 0.16, (2, b, 1, 1)) * (radius - core)
        nucleus = self._lobes(x - shift[0], y - shift[1], core, lobes, _of(LOBE_SPREAD, kind) * self._vary(kind, 0.15))
        return _Nuclei(nucleus * cell, cell, lobes[:, 0, 0])

    def _lobes(self, x: Field, y: Field, core: Field, lobes: Field, spread: Field) -> Field:
        """Discs of equal area in all, along an arc of random curvature and direction, melted together."""
        b = len(x)
        size = core / np.sqrt(lobes) * 1.08
        turn, bend = self.random.uniform(0, 2 * np.pi, (b, 1, 1)), self.random.uniform(0.5, 1.4, (b, 1, 1))
        field = np.zeros_like(x)
        for lobe in range(LOBES):
            along = (lobe - (lobes - 1) / 2) * spread * 1.35
            angle = along * bend
            px = core * np.sin(angle) / bend
            py = core * (np.cos(angle) - np.cos((lobes - 1) / 4 * spread * 1.35 * bend)) / bend
            jitter = self.random.normal(0, 0.06, (2, b, 1, 1)) * core
            cx = px * np.cos(turn) - py * np.sin(turn) + jitter[0]
            cy = px * np.sin(turn) + py * np.cos(turn) + jitter[1]
            own = size * self.random.lognormal(0, 0.08, (b, 1, 1)) * self._wobble(x - cx, y - cy, 0.05)
            field = field + (lobe < lobes) * np.exp((own - np.hypot(x - cx, y - cy)) / 0.55)
        return _soft(np.log(field + 1e-9))

    def _background(self, b: int) -> Field:
        """Plasma and red cells around, some cut off, some under the cell: (b, 32, 32, 3)."""
        absorbed = np.broadcast_to(self.plasma * self.eosin, (b, SIZE, SIZE, 3)).copy()
        for _ in range(5):
            there = self.random.random((b, 1, 1)) < self.crowding / 5
            far, angle = self.random.uniform(11, 19, b), self.random.uniform(0, 2 * np.pi, b)
            at = np.stack([far * np.sin(angle), far * np.cos(angle)])
            absorbed += (there * self.red(at))[..., None] * self.blood
        return absorbed

    def red(self, centre: NDArray[np.float64], side: int = SIZE) -> Field:
        """Thickness (b, side, side) of a red cell around each centre (2, b)."""
        b = centre.shape[1]
        x, y = self._grid(centre, side)
        radius = 7.2 * self.zoom * self.random.lognormal(0, 0.07, (b, 1, 1))
        flat = self.random.uniform(0.75, 1.0, (b, 1, 1))
        distance = np.hypot(x, y / flat) * self._wobble(x, y, 0.03)
        return _soft((radius - distance) / 0.6) * (1 - 0.55 * np.exp(-((distance / (0.5 * radius)) ** 2)))

    def _shading(self, b: int, side: int) -> Field:
        """Uneven light: a slope in a random direction, (b, side, side, 1)."""
        x, y = self._grid(np.zeros((2, b)), side)
        slope = self.random.normal(0, 0.035 / side, (2, b, 1, 1))
        return np.asarray(1 + slope[0] * x + slope[1] * y)[..., None]

    def _grid(self, centre: NDArray[np.float64], side: int = SIZE) -> tuple[Field, Field]:
        """Coordinates x and y (b, side, side) around centres (2, b) given from the middle of the image."""
        axis = np.arange(side, dtype=np.float32) - (side - 1) / 2
        shape = (centre.shape[1], side, side)
        x = np.broadcast_to(axis[None, :] - centre[1][:, None, None], shape)
        y = np.broadcast_to(axis[:, None] - centre[0][:, None, None], shape)
        return x.astype(np.float32), y.astype(np.float32)

    def _wobble(self, x: Field, y: Field, amplitude: float) -> Field:
        """A factor on a radius that makes an outline uneven: waves of two, three and four periods."""
        radius = np.hypot(x, y) + 1e-6
        cosine, sine = x / radius, y / radius
        c, s, factor = cosine, sine, np.ones_like(radius)
        for wave in (2, 3, 4):
            c, s = c * cosine - s * sine, s * cosine + c * sine  # of wave times the angle
            first, second = self.random.normal(0, amplitude * 1.5 / wave, (2, len(x), 1, 1)).astype(np.float32)
            factor = factor + first * c + second * s
        return factor

    def _vary(self, kind: NDArray[np.int64], spread: float) -> Field:
        return self.random.lognormal(0, spread, (len(kind), 1, 1)).astype(np.float32)

    def _noise(self, b: int, width: float) -> Field:
        """Smooth noise of unit variance, (b, 32, 32)."""
        white = self.random.standard_normal((b, SIZE, SIZE), dtype=np.float32)
        field = gaussian_filter(white, (0, width, width), mode="wrap", truncate=3)
        return np.asarray(field / field.std())

    def _granules(self, b: int, width: float, threshold: float) -> Field:
        return _soft((self._noise(b, width) - threshold) / 0.25)


def _of(column: tuple[float, ...], kind: NDArray[np.int64]) -> Field:
    return np.asarray(column, dtype=np.float32)[kind][:, None, None]


def _soft(value: Field) -> Field:
    """A soft step from 0 to 1."""
    return np.asarray(0.5 * (1 + np.tanh(value)))
