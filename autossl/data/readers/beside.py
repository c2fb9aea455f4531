"""What lies beside images and belongs to them, by form of label: what reads it, and what tells that it is the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.readers import dicom_seg, masks, targets
from autossl.data.readers.found import Found
from autossl.data.readers.outlines import Outlines
from autossl.data.truth import Pairs, Raw, Truth


def raw(found: Found, form: type[Truth]) -> Raw | None:
    """What reads the masks or targets that came with the images; None where none did."""
    drawn = found.drawn(form)
    if drawn is not None:
        return targets.given(drawn) if form is Pairs else masks.given(drawn)
    if found.segments is not None:
        return dicom_seg.reader(found.segments)
    if found.labels is None or found.files is None:
        return None
    reader = targets.reader if form is Pairs else masks.reader
    return reader(next(iter(found.labels.values())), found.root, found.files)


def stamps(found: Found, form: type[Truth]) -> tuple[NDArray[Any], ...]:
    """What tells that masks or targets are still the same."""
    if (drawn := found.drawn(form)) is not None:
        return tuple(np.zeros(0) if each is None else _stamp(each) for each in drawn)
    if found.segments is not None:
        return (dicom_seg.stamps(found.segments),)
    return () if not found.labels else (masks.stamps(next(iter(found.labels.values())), found.root),)


def _stamp(drawn: Any) -> NDArray[Any]:
    """What was drawn in memory itself; outlines are not drawn for that."""
    return drawn.stamp if isinstance(drawn, Outlines) else np.asarray(drawn)
