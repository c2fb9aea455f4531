"""What is known of samples: one file per form of label, shared by tasks."""

from autossl.data.truth.base import ALWAYS, AUTO, NEVER, OUTSIDE, SHARE, Cells, Frame, Raw, Samples, Truth
from autossl.data.truth.boxes import Boxes
from autossl.data.truth.classes import Classes
from autossl.data.truth.grades import Grades
from autossl.data.truth.labels import Labels
from autossl.data.truth.masks import Masks
from autossl.data.truth.nothing import Nothing
from autossl.data.truth.objects import NOTHING, Objects
from autossl.data.truth.pairs import Pairs
from autossl.data.truth.values import Values

FORMS: dict[str, type[Truth]] = {
    form.form: form for form in (Classes, Grades, Values, Labels, Masks, Boxes, Pairs, Nothing)
}

__all__ = [
    "ALWAYS", "AUTO", "FORMS", "NEVER", "NOTHING", "OUTSIDE", "SHARE", "Boxes", "Cells", "Classes", "Frame", "Grades",
    "Labels", "Masks", "Nothing", "Objects", "Pairs", "Raw", "Samples", "Truth", "Values",
]  # fmt: skip
