"""Makes a `Source` of DICOM: how its values become whole numbers, chosen by modality and said."""

from dataclasses import replace

import numpy as np

from autossl.data.channels import of_channels
from autossl.data.dataset import CT, KEPT, ROBUST, Pixels, Source
from autossl.data.readers import series
from autossl.data.readers.images import Unreadable
from autossl.data.readers.series import Row
from autossl.data.readers.volumes import CT_WHITE, HOUNSFIELD, ROBUST_WHITE, TAILS, to_voxels
from autossl.errors import UserError
from autossl.errors.printable import plural

WORDS = {
    CT: f"values are Hounsfield units: {HOUNSFIELD[0]} to {HOUNSFIELD[1]} are kept in steps of 1, others are clipped",
    ROBUST: "each image or volume of more than 8 bit is stretched to 16 bit between the ends of the window in its "
    f"header, or without one between its {TAILS[0]} and {TAILS[1]} percentiles",
}


def from_rows(bare: Source, rows: tuple[Row, ...], modality: str, window: str | None, channels: int | None) -> Source:
    """The source of these rows; `window` None: CT where all are CT, ROBUST for other values beyond 8 bit, else KEPT."""
    chosen = window or _window(rows, modality)
    windows = [chosen if chosen == CT or _is_deep(row) else KEPT for row in rows]
    whites = {CT: CT_WHITE, ROBUST: ROBUST_WHITE}
    headers = [row.header for row in rows]
    notes = [WORDS[chosen]] if chosen in windows and chosen != KEPT else []
    if inverted := sum(header.inverted for header in headers):
        notes.append(f"{plural(inverted, 'image')} inverted, for the file says that 0 is white")
    source = replace(
        bare,
        read=lambda row: _read(rows[row], windows[row]),
        sizes=np.array([header.size for header in headers]),
        channels=max(header.channels for header in headers),
        white=np.array([whites.get(own) or max(0, each.white) for own, each in zip(windows, headers, strict=True)]),
        spacing=np.array([header.spacing for header in headers]) if rows[0].axes else None,
        window=chosen,
        modality=modality,
        numbered=True,
        key=f"{bare.key} dicom 1 {chosen}",
        notes=(*bare.notes, *notes),
    )
    counts = [header.channels for header in headers]
    if rows[0].axes and len(set(counts)) > 1:
        raise UserError(
            f"volumes with one number of channels were wanted, found {' and '.join(map(str, sorted(set(counts))))} in "
            f"{source.place}; leave one kind out"
        )
    return of_channels(source, counts, channels)


def _window(rows: tuple[Row, ...], modality: str) -> str:
    deep = [_is_deep(row) for row in rows]
    if modality == "CT" and all(deep):
        return CT
    return ROBUST if any(deep) else KEPT


def _is_deep(row: Row) -> bool:
    """Whether values are grey and not of 8 bit."""
    return row.header.channels == 1 and row.header.white != 255


def _read(row: Row, window: str) -> Pixels:
    values, ends = series.raw(row)
    try:
        return to_voxels(values, window, "it", deep=row.header.white == 0, between=ends)[0]
    except UserError as fault:
        raise Unreadable(str(fault)) from None
