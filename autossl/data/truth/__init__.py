"""What is known of samples: one file per form of label, shared by tasks."""

from autossl.data.truth.base import Cells, Samples, Truth
from autossl.data.truth.classes import Classes

FORMS: dict[str, type[Truth]] = {"classes": Classes}

__all__ = ["FORMS", "Cells", "Classes", "Samples", "Truth"]
