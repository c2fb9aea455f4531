"""How masks become numbers of structures at the size of the store, and are kept there."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth.base import OUTSIDE, Frame, Ints, Raw
from autossl.errors import UserError
from autossl.errors.printable import joined

IGNORED = 255  # outside the image, or not to be judged
MOST = 32  # different values of masks above which they number objects, all of one structure
FOREGROUND = "foreground"
STORE, ABOUT = "masks.npy", "masks.npz"

Terms = tuple[tuple[str, ...], tuple[int, ...]]  # structures, and their values in masks; no value: all but 0 are one


def kept(frame: Frame) -> dict[str, NDArray[Any]] | None:
    """What an earlier run decoded of the same masks at the same size."""
    if not (frame.folder / STORE).is_file() or not (frame.folder / ABOUT).is_file():
        return None
    with np.load(frame.folder / ABOUT, allow_pickle=False) as stored:
        known = dict(stored)
    return known if str(known.pop("key")) == frame.key else None


def decode(
    rows: Ints, raw: Raw, study: Terms | None, titles: Mapping[str, str], frame: Frame
) -> dict[str, NDArray[Any]]:
    """Keep the masks of these rows, k of them, in their order, and what is known of each: (k, ...).

    Values are told in the terms of a `study`, else they are called by `titles`. UserError where too many masks do not
    fit their images.
    """
    values, bad = set[int](), list[tuple[int, str]]()
    fitted = np.full((len(rows), *frame.space), OUTSIDE, dtype=np.int32)
    for place, row in enumerate(rows.tolist()):
        try:
            mask = raw(row)
            frame.check(row, mask)
        except ValueError as fault:
            bad.append((row, str(fault)))
            continue
        values.update(np.unique(mask).tolist())
        fitted[place] = frame.fit(row, mask)
    if len(bad) > frame.failures or len(bad) == len(rows):
        raise UserError(
            f"masks of the size of their images were wanted, found {len(bad)} of {len(rows)} that are not in "
            f"{frame.place}, the first of {frame.naming(bad[0][0])} ({bad[0][1]}); mend them or leave them out"
        )
    terms = _terms(values, titles, frame.place) if study is None else _told(values, study, frame)
    return _written(fitted, rows, terms, frame)


def width(mask: NDArray[Any]) -> float:
    """Of what a mask (*space) shows, in pixels: twice its pixels to those of them at a border; NaN of an empty one.

    Of something long that is its width, of a disc the radius.
    """
    inside, edge = mask > 0, np.zeros(mask.shape, dtype=bool)
    for axis in range(mask.ndim):
        along, borders = np.moveaxis(mask, axis, 0), np.moveaxis(edge, axis, 0)
        differ = along[1:] != along[:-1]
        borders[1:] |= differ
        borders[:-1] |= differ
    border = int((edge & inside).sum())
    return 2 * int(inside.sum()) / border if border else float("nan")


def retold(raw: Raw, titles: Mapping[str, str], study: Terms) -> Raw:
    """What reads masks in the values of a study, where both have names for these and share one.

    A name that the study has not keeps a value that it does not know.
    """
    structures, values = study
    strange = max(values, default=0) + 1
    moved = {
        int(value): values[structures.index(name)] if name in structures else strange + place
        for place, (value, name) in enumerate(titles.items())
    } if values and set(titles.values()) & set(structures) else {}  # fmt: skip

    def read(row: int) -> NDArray[Any]:
        mask = raw(row)
        found = np.array(mask)
        for value, own in moved.items():
            found[mask == value] = own
        return found

    return read if any(value != own for value, own in moved.items()) else raw


def _told(values: Iterable[int], study: Terms, frame: Frame) -> Terms:
    """The terms of the study; UserError for values that it does not know."""
    if study[1] and (strange := sorted(value for value in values if value > 0 and value not in study[1])):
        raise UserError(
            f"masks of the values 0 and {joined(list(map(str, study[1])))}, as in the study, were wanted, found "
            f"{strange[0]} in {frame.place}; write them alike"
        )
    return study


def _terms(values: Iterable[int], titles: Mapping[str, str], place: str) -> Terms:
    inside = sorted(value for value in values if value > 0)
    if not inside:
        raise UserError(
            f"masks that show something were wanted, found the value 0 throughout in all of {place}; check how they "
            "were saved"
        )
    if len(inside) > MOST:
        return (FOREGROUND,), ()
    usual = FOREGROUND if len(inside) == 1 else "structure {}"
    return tuple(titles.get(str(value), usual.format(value)) for value in inside), tuple(inside)


def _written(fitted: NDArray[np.int32], rows: Ints, terms: Terms, frame: Frame) -> dict[str, NDArray[Any]]:
    structures, values = terms
    found = np.full(fitted.shape, IGNORED, dtype=np.uint8)
    found[fitted == 0] = 0
    if not values:
        found[fitted > 0] = 1
    for number, value in enumerate(values, 1):
        found[fitted == value] = number
    flat = found.reshape(len(found), -1)
    inside = np.maximum(1, (flat != IGNORED).sum(1))
    prints = [int.from_bytes(hashlib.blake2b(mask.tobytes(), digest_size=7).digest(), "big") for mask in flat]
    about = {
        "structures": np.array(structures),
        "values": np.array(values, np.int64),
        "shares": np.stack([(flat == number).sum(1) / inside for number in range(1, len(structures) + 1)], axis=1),
        "prints": np.array(prints, np.int64),
        "fits": (flat != IGNORED).any(1),
        "grains": np.stack([frame.grain(row) for row in rows.tolist()]),
    }
    frame.write(STORE, lambda file: np.save(file, found, allow_pickle=False))
    frame.write(ABOUT, lambda file: np.savez(file, allow_pickle=False, key=np.array(frame.key), **about))
    return about
