"""The user's images: opened from any supported form, checked, split and decoded once."""

from autossl.data.checks import check_enough
from autossl.data.dataset import CT, KEPT, ROBUST, Data, Source
from autossl.data.fresh import Fresh, read_images
from autossl.data.open import open_data
from autossl.data.parts import DROPPED, PROBE, SELECTION, TEST
from autossl.data.prepare import load, positions, prepare
from autossl.data.store import default_image_size, is_stored, known_digests, smaller_sizes
from autossl.data.windows import cut_or_whole, windowed

__all__ = [
    "CT",
    "DROPPED",
    "KEPT",
    "PROBE",
    "ROBUST",
    "SELECTION",
    "TEST",
    "Data",
    "Fresh",
    "Source",
    "check_enough",
    "cut_or_whole",
    "default_image_size",
    "is_stored",
    "known_digests",
    "load",
    "open_data",
    "positions",
    "prepare",
    "read_images",
    "smaller_sizes",
    "windowed",
]
