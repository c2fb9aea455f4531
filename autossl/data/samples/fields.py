"""Generates fields of sample:cells with several cells each, for boxes: the same smears under a wider lens."""

import numpy as np
from numpy.typing import NDArray

from autossl.data.parts import OFFICIAL_TEST, TRAIN
from autossl.data.readers.found import Found
from autossl.data.samples.cells import KINDS, MIX, SIZE, Slide
from autossl.data.truth import Objects

FIELD = 80  # pixels a side
PATIENTS, PER_PATIENT = 80, 5
TESTED, LABELLED = 20, 3  # patients of the test part, and labelled images of each of the others
MOST = 4  # cells of a field
APART = 17  # pixels between their middles at least
REDS = (4, 14)  # red cells of a field


def read_fields() -> Found:
    """Fields of 80 patients with boxes around their white cells, a labelled test part and few labels outside it."""
    images, boxes, patients = fields()
    test = patients >= PATIENTS - TESTED
    known = test | (np.arange(len(images)) % PER_PATIENT < LABELLED)
    told = f"{LABELLED} images of each patient, and all images of the {TESTED} patients in its test part"
    return Found(
        "sample:cells",
        "sample:cells",
        images,
        boxes=[each if here else None for each, here in zip(boxes, known, strict=True)],
        patients=[f"synthetic {patient}" for patient in patients],
        split=np.where(test, OFFICIAL_TEST, TRAIN).astype(np.int8),
        notes=(
            "sample:cells is synthetic: generated images of made-up patients, for trying things out only; labelled are "
            f"{told}",
        ),
    )


def fields(
    patients: int = PATIENTS, per_patient: int = PER_PATIENT, seed: int = 0
) -> tuple[NDArray[np.uint8], list[Objects], NDArray[np.int64]]:
    """Images (n, 80, 80, 3), the cells in them and patients (n,); the same for the same seed."""
    images, boxes = [], []
    for patient in range(patients):
        random = np.random.default_rng([seed, 1, patient])
        slide, mix = Slide(random), random.dirichlet(np.array(MIX) * 12)
        for _ in range(per_patient):
            image, objects = _field(slide, random, mix)
            images.append(image)
            boxes.append(objects)
    return np.stack(images), boxes, np.repeat(np.arange(patients), per_patient)


def _field(slide: Slide, random: np.random.Generator, mix: NDArray[np.float64]) -> tuple[NDArray[np.uint8], Objects]:
    corners = _corners(random)
    kind = random.choice(len(KINDS), size=len(corners), p=mix)
    absorbed = np.broadcast_to(slide.plasma * slide.eosin, (FIELD, FIELD, 3)).copy()
    reds = random.uniform(-FIELD / 2, FIELD / 2, (2, random.integers(*REDS)))
    absorbed += slide.red(reds, FIELD).sum(0)[..., None] * slide.blood
    boxes = np.zeros((len(corners), 4))
    if len(corners):
        drawn = slide.cells(kind)
        for (y, x), cell, mask, box in zip(corners, drawn, slide.drawn["mask"], boxes, strict=True):
            absorbed[y : y + SIZE, x : x + SIZE] += cell
            rows, columns = np.nonzero(mask)
            box[:] = (x + columns.min(), y + rows.min(), x + columns.max() + 1, y + rows.max() + 1)
    return slide.developed(absorbed[None])[0], Objects(boxes, tuple(KINDS[each] for each in kind))


def _corners(random: np.random.Generator) -> list[tuple[int, int]]:
    """Upper left corners of cells whose middles are apart; fewer where there is no room."""
    found: list[tuple[int, int]] = []
    for _ in range(int(random.integers(0, MOST + 1))):
        y, x = (int(at) for at in random.integers(0, FIELD - SIZE + 1, 2))
        if all(np.hypot(y - down, x - across) >= APART for down, across in found):
            found.append((y, x))
    return found
