"""What an encoder is for: one file and one row per task."""

from autossl.record.offered import task as offered
from autossl.targets.base import Judged, Score, Target
from autossl.targets.classification import Classification
from autossl.targets.detection import Detection
from autossl.targets.multilabel import MultiLabel
from autossl.targets.ordinal import Ordinal
from autossl.targets.readout import Readout
from autossl.targets.reconstruction import Reconstruction
from autossl.targets.regression import Regression
from autossl.targets.retrieval import Retrieval
from autossl.targets.seen import Seen
from autossl.targets.segmentation import Segmentation
from autossl.targets.unlabelled import Unlabelled

TARGETS: dict[str, type[Target]] = {
    target.task: target
    for target in (
        Classification,
        Regression,
        Ordinal,
        MultiLabel,
        Segmentation,
        Detection,
        Reconstruction,
        Retrieval,
        Unlabelled,
    )
}


def target_class(task: str) -> type[Target]:
    """The target of this name; UserError if there is none."""
    return TARGETS[offered(task).name]


__all__ = ["TARGETS", "Judged", "Readout", "Score", "Seen", "Target", "target_class"]
