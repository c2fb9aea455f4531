"""The metrics as data: what each is called, which way it is better, its range, how it is written and computed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from numpy.typing import ArrayLike

from autossl.proxies import detections, image_metrics, metrics, resampled
from autossl.proxies.metrics import Ints, of_classes, of_labels
from autossl.proxies.resampled import Prepare

Kind = Literal["classes", "values", "queries", "pixels", "images", "boxes"]
_INF = float("inf")


@dataclass(frozen=True)
class Metric:
    """One row of METRICS.

    `of` computes it from truth and scores: of classes, truth is a class index (n,) and scores are (n, c); of values,
    truth and predictions are (n,) or (n, t); of queries, scores (n, 2) are what each came to; of pixels and images, see
    `image_metrics`; of boxes, see `detections.mean_ap`. With `within`, it takes folds as well. `prepare` does what does
    not change between draws of patients.
    """

    name: str
    words: str  # as a sentence has it
    better: Literal["higher", "lower"]
    low: float
    high: float
    of: Callable[..., float]
    prepare: Prepare
    kinds: frozenset[Kind]
    within: bool = False
    digits: str = ".3f"

    @property
    def one(self) -> str:
        """The words with their article."""
        return ("an " if self.words.startswith(("a", "AP", "mAP", "R²")) else "a ") + self.words

    def worth(self, value: float) -> float:
        """What more of is better: the value, its sign turned where lower is better."""
        return value if self.better == "higher" else -value

    def text(self, value: float, signed: bool = False) -> str:
        """The value as people read it."""
        sign = "+" if signed else ""
        if self.digits.endswith("g"):  # so many digits that count, never an exponent
            return format(float(format(value, self.digits)), f"{sign}.15g")
        return format(value, f"{sign}{self.digits}")


CLASSES: frozenset[Kind] = frozenset({"classes"})
VALUES: frozenset[Kind] = frozenset({"values"})
QUERIES: frozenset[Kind] = frozenset({"queries"})
PIXELS: frozenset[Kind] = frozenset({"pixels"})
IMAGES: frozenset[Kind] = frozenset({"images"})
BOXES: frozenset[Kind] = frozenset({"boxes"})
_DISTANCE = (partial(image_metrics.mean_of_cases, image_metrics.case_distance),
             partial(resampled.cases, image_metrics.case_distance))  # fmt: skip
_ROWS = (
    Metric("balanced_accuracy", "balanced accuracy", "higher", 0, 1, metrics.balanced_accuracy_of_scores,
           resampled.balanced_accuracy, CLASSES, within=True),
    Metric("macro_auroc", "macro AUROC", "higher", 0, 1, metrics.macro_auroc,
           partial(resampled.ranked, of_classes, resampled.areas), CLASSES, within=True),
    Metric("accuracy", "accuracy", "higher", 0, 1, metrics.accuracy_of_scores, resampled.accuracy, CLASSES),
    Metric("average_precision", "average precision", "higher", 0, 1, metrics.average_precision,
           partial(resampled.ranked, resampled.of_either, resampled.precisions), CLASSES | VALUES),
    Metric("dice", "Dice", "higher", 0, 1, metrics.dice, partial(resampled.overlap, 0), CLASSES | VALUES),
    Metric("miou", "mIoU", "higher", 0, 1, metrics.miou, partial(resampled.overlap, 1), CLASSES | VALUES),
    Metric("r2", "R²", "higher", -_INF, 1, metrics.r2, resampled.r2, VALUES),
    Metric("mae", "mean absolute error", "lower", 0, _INF, metrics.mae, resampled.mae, VALUES, digits=".4g"),
    Metric("spearman", "Spearman's ρ", "higher", -1, 1, metrics.spearman, resampled.spearman, VALUES, within=True),
    Metric("quadratic_kappa", "quadratic weighted kappa", "higher", -1, 1, metrics.quadratic_kappa,
           resampled.quadratic_kappa, VALUES, within=True),
    Metric("multilabel_auroc", "macro AUROC of labels", "higher", 0, 1, metrics.multilabel_auroc,
           partial(resampled.ranked, of_labels, resampled.areas), VALUES, within=True),
    Metric("map_at_10", "mAP@10", "higher", 0, 1, partial(image_metrics.mean_of_queries, 0),
           partial(resampled.queries, 0), QUERIES),
    Metric("r_precision", "R-precision", "higher", 0, 1, partial(image_metrics.mean_of_queries, 1),
           partial(resampled.queries, 1), QUERIES),
    Metric("pooled_dice", "pooled Dice", "higher", 0, 1, image_metrics.pooled_dice, partial(resampled.pooled, 0),
           PIXELS),
    Metric("pooled_iou", "pooled IoU", "higher", 0, 1, image_metrics.pooled_iou, partial(resampled.pooled, 1), PIXELS),
    Metric("case_dice", "Dice per image", "higher", 0, 1, partial(image_metrics.mean_of_cases, image_metrics.case_dice),
           partial(resampled.cases, image_metrics.case_dice), PIXELS),
    Metric("surface_dice", "surface Dice per image", "higher", 0, 1,
           partial(image_metrics.mean_of_cases, image_metrics.case_surface),
           partial(resampled.cases, image_metrics.case_surface), PIXELS),
    Metric("hd95_mm", "HD95 in mm", "lower", 0, _INF, *_DISTANCE, PIXELS, digits=".4g"),
    Metric("hd95_pixels", "HD95 in pixels of the image", "lower", 0, _INF, *_DISTANCE, PIXELS, digits=".4g"),
    Metric("object_recall", "objects found", "higher", 0, 1, image_metrics.object_recall, resampled.objects, PIXELS),
    Metric("false_objects", "false objects per image", "lower", 0, _INF,
           partial(image_metrics.mean_of_cases, image_metrics.case_false),
           partial(resampled.cases, image_metrics.case_false), PIXELS, digits=".4g"),
    Metric("psnr_gain", "dB gained", "higher", -_INF, 100, partial(image_metrics.mean_of_images, image_metrics.GAIN),
           partial(resampled.images, image_metrics.GAIN), IMAGES, digits=".2f"),
    Metric("psnr", "PSNR (dB)", "higher", -_INF, 100, partial(image_metrics.mean_of_images, image_metrics.PSNR),
           partial(resampled.images, image_metrics.PSNR), IMAGES, digits=".2f"),
    Metric("ssim", "SSIM", "higher", -1, 1, partial(image_metrics.mean_of_images, image_metrics.SSIM),
           partial(resampled.images, image_metrics.SSIM), IMAGES),
    Metric("nmse", "NMSE", "lower", 0, _INF, partial(image_metrics.mean_of_images, image_metrics.NMSE),
           partial(resampled.images, image_metrics.NMSE), IMAGES, digits=".4g"),
    Metric("ap50", "AP50", "higher", 0, 1, detections.ap50, partial(detections.precision, 1), BOXES),
    Metric("mean_ap", "mAP", "higher", 0, 1, detections.mean_ap, partial(detections.precision, detections.ALL), BOXES),
    Metric("froc_score", "FROC score", "higher", 0, 1, detections.froc_score, detections.sensitivity, BOXES),
)  # fmt: skip
METRICS: dict[str, Metric] = {row.name: row for row in _ROWS}


def score(metric: str, y: ArrayLike, scores: ArrayLike, folds: Ints | None = None) -> float:
    """Computes a metric of METRICS by name from scores (n, c).

    Scores that were predicted fold by fold come from several fits. With their `folds` (n,), see `judging_folds`,
    metrics `within` folds compare within each of them only; the others, of values or shares, need no comparison.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, found {metric!r}.")
    row = METRICS[metric]
    return row.of(y, scores) if folds is None or not row.within else row.of(y, scores, folds)
