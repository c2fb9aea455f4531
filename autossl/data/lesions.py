"""Generates sample:volumes, synthetic CT of five kinds of liver lesions from 120 made-up patients.

Hounsfield units of liver, vessels and lesion after contrast, blurred by the scanner and with its grain. Kinds differ
in how parts lie to each other (rim, scar, capsule, nodules at the margin), in texture and in outline, with overlapping
ranges; size, phase of the contrast, liver fat, sharpness and dose differ by patient and volume, so that brightness
alone tells little.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from autossl.data.found import Found

SIZE = 28
PATIENTS, PER_PATIENT = 120, 4
KINDS = ("carcinoma", "cyst", "haemangioma", "hyperplasia", "metastasis")
MIX = (0.2, 0.2, 0.2, 0.18, 0.22)
BLACK, WHITE = -60.0, 240.0  # Hounsfield units of 0 and 255

# one column per kind, in the order of KINDS; enhancement is relative to that of the liver
CORE = (0.35, -1.0, -0.55, 0.5, -0.45)  # of the lesion's inside: -1 is water
RIM = (-0.05, -1.0, -0.45, 0.5, 0.3)  # of its outer shell
RIM_WIDTH = (0.18, 0.2, 0.25, 0.2, 0.3)  # of the radius
SCAR = (0.0, 0.0, 0.0, -0.6, -0.35)  # added at the centre
SCAR_RADIUS = (0.3, 0.3, 0.3, 0.28, 0.45)  # of the radius
MOSAIC = (0.45, 0.02, 0.1, 0.06, 0.2)  # amplitude of coarse texture
NODULES = (0.0, 0.0, 1.3, 0.0, 0.15)  # enhancement of patches at the margin
UNEVEN = (0.10, 0.03, 0.10, 0.08, 0.16)  # of the outline

Field = NDArray[np.floating]


def read_lesions() -> Found:
    """The sample as any other data: labels and patient ids, no official split."""
    volumes, labels, patients = generate()
    return Found(
        "sample:volumes",
        "sample:volumes",
        volumes[..., None],
        labels=[KINDS[label] for label in labels],
        patients=[f"synthetic {patient}" for patient in patients],
        notes=("sample:volumes is synthetic: generated volumes of made-up patients, for trying things out only",),
    )


def generate(
    patients: int = PATIENTS, per_patient: int = PER_PATIENT, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Volumes (n, 28, 28, 28), kinds (n,) and patients (n,), n = patients * per_patient; the same for the same seed."""
    volumes, kinds = [], []
    for patient in range(patients):
        random = np.random.default_rng([seed, patient])
        kind = random.choice(len(KINDS), size=per_patient, p=random.dirichlet(np.array(MIX) * 8))
        scan = _Scan(random)
        volumes += [scan.lesion(int(number)) for number in kind]
        kinds.append(kind)
    return np.stack(volumes), np.concatenate(kinds).astype(np.int64), np.repeat(np.arange(patients), per_patient)


class _Scan:
    """One patient's scan: liver, contrast, sharpness and dose."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.plain = random.normal(55, 9)  # liver without contrast; fat lowers it
        self.contrast = random.uniform(35, 75)  # added to liver
        self.blood = self.contrast * random.uniform(1.3, 2.2)
        self.blur = random.uniform(0.5, 1.0)
        self.noise = random.uniform(6, 16)

    def lesion(self, kind: int) -> NDArray[np.uint8]:
        """(28, 28, 28) around one lesion."""
        liver = self.plain + self.contrast * (1 + 0.06 * self._noise(3.0))
        vessels = self._vessels()
        values = liver + vessels * (self.plain + self.blood - liver)
        values = values + self._lesion(kind, values)
        seen = gaussian_filter(values, self.blur) + self.noise * self._noise(0.7)
        return np.asarray(np.clip(np.rint((seen - BLACK) / (WHITE - BLACK) * 255), 0, 255), dtype=np.uint8)

    def _lesion(self, kind: int, around: Field) -> Field:
        """What a lesion adds to the values around it."""
        radius, depth = self._depth(kind)
        inside = _soft(depth * radius / 0.6)
        enhancement = CORE[kind] + self.random.normal(0, 0.12)
        rim = np.exp(-(((depth - RIM_WIDTH[kind] / 2) / (RIM_WIDTH[kind] / 2)) ** 2))
        level = enhancement + rim * (RIM[kind] - CORE[kind]) * self._vary(0.2)
        scar = SCAR_RADIUS[kind] * self._vary(0.2)
        star = 1 + 0.35 * self._noise(1.5)  # scars are no balls
        level = level + SCAR[kind] * self._vary(0.25) * _soft((scar * star - (1 - depth)) * radius / 0.6)
        level = level + MOSAIC[kind] * self._vary(0.3) * np.tanh(1.5 * self._noise(1.8))
        margin = np.exp(-(((depth - 0.2) / 0.22) ** 2))
        level = level + NODULES[kind] * self._vary(0.3) * margin * _soft((self._noise(1.8) - 0.5) / 0.25)
        water = np.float32(self.random.normal(8, 5))
        liver = self.plain + self.contrast
        values = np.where(level < 0, liver + np.maximum(level, -1) * (liver - water), liver + level * self.contrast)
        return np.asarray(inside * (values - around), dtype=np.float32)

    def _depth(self, kind: int) -> tuple[float, Field]:
        """The mean radius in voxels, and how deep under the outline voxels lie: 1 at the centre, below 0 outside."""
        radius = float(np.clip(8.2 * self._vary(0.2), 5.0, 11.5))
        z, y, x = self._grid(self.random.normal(0, 1.6, 3))
        stretch = np.exp(self.random.normal(0, 0.10, 3))
        distance = np.sqrt((z * stretch[0]) ** 2 + (y * stretch[1]) ** 2 + (x * stretch[2]) ** 2)
        outline = radius * (1 + UNEVEN[kind] * self._vary(0.3) * self._noise(3.0))
        return radius, np.asarray(1 - distance / outline, dtype=np.float32)

    def _vessels(self) -> Field:
        """Straight tubes of some radii in random directions: (28, 28, 28), 1 inside."""
        inside = np.zeros((SIZE, SIZE, SIZE), dtype=np.float32)
        for _ in range(self.random.integers(1, 5)):
            axis = self.random.normal(size=3)
            axis /= np.linalg.norm(axis)
            grid = np.stack(self._grid(self.random.uniform(-12, 12, 3)))
            along = np.tensordot(axis, grid, axes=1)
            across = np.sqrt(np.maximum((grid**2).sum(0) - along**2, 0))
            inside = np.maximum(inside, _soft((self.random.uniform(0.8, 2.0) - across) / 0.5))
        return inside

    def _grid(self, centre: NDArray[np.float64]) -> tuple[Field, Field, Field]:
        """Coordinates z, y and x (28, 28, 28) around a centre (3,) given from the middle of the volume."""
        axes = [np.arange(SIZE, dtype=np.float32) - np.float32((SIZE - 1) / 2 + at) for at in centre]
        z, y, x = np.meshgrid(*axes, indexing="ij")
        return z, y, x

    def _vary(self, spread: float) -> float:
        return float(self.random.lognormal(0, spread))

    def _noise(self, width: float) -> Field:
        """Smooth noise of unit variance, (28, 28, 28)."""
        white = self.random.standard_normal((SIZE, SIZE, SIZE), dtype=np.float32)
        field = gaussian_filter(white, width, mode="wrap", truncate=3)
        return np.asarray(field / field.std())


def _soft(value: Field) -> Field:
    """A soft step from 0 to 1."""
    return np.asarray(0.5 * (1 + np.tanh(value)), dtype=np.float32)
