"""One number of channels for the images of a set: grey among colours, and grey that is stored as RGB."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from autossl.data.dataset import Source
from autossl.data.readers.images import Unreadable, is_grey, to_channels
from autossl.errors.printable import plural

ASKED_AT_ONCE = 64  # images that are looked at for colours before the answers are read


def of_channels(source: Source, counts: list[int], wanted: int | None) -> Source:
    """Images whose rows have these counts of channels (0: unreadable), brought to one count, and a note of it.

    `wanted` None: images of three equal channels are grey, and if all are, the set is. Grey among colours becomes
    three equal channels. For volumes, and for images of other counts, nothing is done.
    """
    if source.dims == 3 or not set(counts) <= {0, 1, 3}:
        return source
    coloured = [row for row, count in enumerate(counts) if count == 3]
    if wanted is None:
        wanted = 3 if _any_colour(source, coloured) else min(1, max(counts))
    grey, notes = counts.count(1), list(source.notes)
    if wanted == 1 and coloured:
        notes.append(f"{plural(len(coloured), 'image')} grey but stored as RGB: one channel is kept")
    elif wanted == 3 and grey:
        notes.append(f"{plural(grey, 'grey image')} became three equal channels")
    return _with_channels(replace(source, notes=tuple(notes)), wanted)


def _any_colour(source: Source, rows: list[int]) -> bool:
    """Whether the channels of any of these images differ; the first that do end the search, so order is mixed.

    Only a set that is grey throughout is decoded for this as a whole.
    """
    mixed = np.random.default_rng(0).permutation(np.array(rows, dtype=np.int64)).tolist()
    with ThreadPoolExecutor() as pool:
        return any(
            any(pool.map(lambda row: _has_colour(source, row), mixed[at : at + ASKED_AT_ONCE]))
            for at in range(0, len(mixed), ASKED_AT_ONCE)
        )


def _has_colour(source: Source, row: int) -> bool:
    try:
        return not is_grey(source.read(row))
    except Unreadable:  # it is counted and named when all are decoded
        return False


def of_colours(source: Source) -> Source:
    """The source with three channels, and a note where it had one."""
    if source.channels == 3:
        return source
    notes = (*source.notes, f"{plural(source.n, 'grey image')} became three equal channels")
    return _with_channels(replace(source, notes=notes), 3)


def _with_channels(source: Source, channels: int) -> Source:
    """The source with its images brought to this number of channels, by `to_channels`, where they are read."""
    read, array = source.read, source.array
    if array is not None and array.shape[-1] != channels:
        array = None
    return replace(source, read=lambda row: to_channels(read(row), channels), channels=channels, array=array)
