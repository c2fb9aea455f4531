"""Joins images without labels to the labelled ones, their patients matched by identifier."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.channels import of_colours
from autossl.data.dataset import Ints, Source
from autossl.data.frame import alike
from autossl.data.parts import NO_SPLIT
from autossl.data.readers.found import alike_note
from autossl.errors import UserError


def join(labelled: Source, unlabeled: Source) -> Source:
    """Both sources as one; the labels and splits of the second are forgotten, its patients matched by identifier."""
    if labelled.dims != unlabeled.dims:
        words = {2: "images", 3: "volumes"}
        raise UserError(
            f"unlabelled {words[labelled.dims]}, as in {labelled.place}, were wanted, found {words[unlabeled.dims]} in "
            f"{unlabeled.place}; leave them out"
        )
    channels = {labelled.channels, unlabeled.channels}
    if len(channels) > 1 and (channels != {1, 3} or labelled.dims == 3):
        raise UserError(
            f"unlabelled images with {labelled.channels} channels, as in {labelled.place}, were wanted, found "
            f"{unlabeled.channels} in {unlabeled.place}; convert them"
        )
    if len(channels) > 1:
        labelled, unlabeled = of_colours(labelled), of_colours(unlabeled)
    first = labelled.n
    groups, patients, said = _join_patients(labelled, unlabeled)
    files = None
    if labelled.files is not None and unlabeled.files is not None:
        files = labelled.files + unlabeled.files
    return replace(
        labelled,
        truth=labelled.truth.extended(unlabeled.n),
        split=np.concatenate([labelled.split, np.full(unlabeled.n, NO_SPLIT, dtype=np.int8)]),
        read=lambda row: labelled.read(row) if row < first else unlabeled.read(row - first),
        sizes=np.concatenate([labelled.sizes, unlabeled.sizes]),
        white=_concatenate(labelled.white, unlabeled.white),
        key=f"{labelled.key}+{unlabeled.key}",
        groups=groups,
        patients=patients,
        array=None,
        files=files,
        spacing=_join_spacing(labelled, unlabeled),
        slices=_join_slices(labelled, unlabeled),
        floats=labelled.floats or unlabeled.floats,
        like=lambda row, values: alike(labelled, row, values),
        notes=(*labelled.notes, *unlabeled.notes, f"{unlabeled.n} images without labels were added", *said),
    )


def _join_spacing(first: Source, second: Source) -> NDArray[np.float64] | None:
    if first.spacing is None or second.spacing is None:
        return None
    return np.concatenate([first.spacing, second.spacing])


def _join_slices(first: Source, second: Source) -> NDArray[np.float64] | None:
    if first.slices is None and second.slices is None:
        return None
    parts = [np.full(part.n, np.nan) if part.slices is None else part.slices for part in (first, second)]
    return np.concatenate(parts)


def _join_patients(labelled: Source, unlabeled: Source) -> tuple[Ints, tuple[str, ...], tuple[str, ...]]:
    """Patient indices and identifiers of both, and what is to be said of them."""
    if not labelled.has_patients:
        unused = ("patient ids of the images without labels are not used: the labelled ones have none",)
        return np.arange(labelled.n + unlabeled.n), (), unused if unlabeled.has_patients else ()
    ids = list(labelled.patients)
    if not unlabeled.has_patients:
        lacking = (
            "the images without labels have no patient ids and count as one patient each: none may be of a patient of "
            "the test part",
        )
        return _concatenate(labelled.groups, len(ids) + unlabeled.groups), (*ids, *[""] * unlabeled.n), lacking
    index = {identifier: at for at, identifier in enumerate(ids) if identifier}
    place = np.empty(len(unlabeled.patients), dtype=np.int64)
    for at, identifier in enumerate(unlabeled.patients):
        if identifier not in index:
            if identifier:
                index[identifier] = len(ids)
            place[at] = len(ids)
            ids.append(identifier)
        else:
            place[at] = index[identifier]
    known = {*alike_note(labelled.patients), *alike_note(unlabeled.patients)}
    note = tuple(note for note in alike_note(ids) if note not in known)
    return _concatenate(labelled.groups, place[unlabeled.groups]), tuple(ids), note


def _concatenate(first: Ints, second: NDArray[Any]) -> Ints:
    return np.concatenate([first, second]).astype(np.int64)
