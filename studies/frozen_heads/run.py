"""Scores frozen heads on drawn labels: logistic, the best of three, logistic on two stages and over flips and turns.

    python -m studies.frozen_heads.run pbc_blood_28.npz --modality microscopy
    python -m studies.frozen_heads.run pneumoniamnist.npz --modality xray

Run from the top of a checkout, with the extra `imagenet`. The encoders are a resnet10t at the size of the images,
untrained and after some images of DCL, and EfficientNet-Lite0 with its ImageNet weights at 96 px. Labels are drawn as
the label curve draws them, heads and sights are chosen by log-loss within them, scores are balanced accuracies on
images of the test part. Flips and turns are tried where the modality has no orientation. Below the choices stands
each head at each sight by itself.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from autossl.data.truth import Classes
from autossl.finish.curve import draw_labels
from autossl.nn.encoder import Encoder
from autossl.nn.sight import Sight, looked, width
from autossl.nn.weights import load_weights, weights_of
from autossl.proxies import balanced_accuracy
from autossl.targets.log_loss import folds_of
from autossl.train.loop import train
from autossl.trials.context import Context
from autossl.trials.segments import new_run
from studies.frozen_heads.heads import Head, heads
from studies.opened import first_prior, opened
from studies.rows import markdown

HERE = Path(__file__).parent
NUMBERS, DRAWS, ENLARGED, BATCH = (100, 250), 5, 96, 128
GREY = (0.449, 0.226)  # mean and deviation of ImageNet
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Sights = dict[Sight, Floats]
CHOICES: dict[str, tuple[int, Callable[[Sight], bool]]] = {  # what each column chooses from: heads and sights
    "logistic": (1, lambda sight: sight == Sight()),
    "best of three": (3, lambda sight: sight == Sight()),
    "logistic, one stage or two": (1, lambda sight: not sight.turned),
    "and turned or not": (1, lambda _: True),
    "best of three, all of these": (3, lambda _: True),
}


def encoders(context: Context, images: int) -> Iterator[tuple[str, Encoder, Sequence[float], Sequence[float]]]:
    """Name, network, and mean and deviation of what it takes."""
    p = context.preprocessing(context.new_encoder(0))
    yield "untrained", context.new_encoder(0), p.mean, p.std
    run = new_run(context, 0, "dcl", first_prior(context, "dcl"))
    next(train(run, context.plan.rungs))
    yield f"DCL, {images:,} images", context.averaged(run), p.mean, p.std
    given = weights_of("packaged:lite0")
    network = load_weights(Encoder(str(given.architecture), context.channels, ENLARGED), given)
    yield "lite0, ImageNet", network, GREY[:1] * context.channels, GREY[1:] * context.channels


def embedded(
    encoder: Encoder, images: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float], sights: list[Sight]
) -> Sights:
    """What each sight gives of images (n, h, w, c)."""
    both = [sight for sight in sights if sight.stages == 2]
    parts: dict[Sight, list[Floats]] = {sight: [] for sight in both}
    for at in range(0, len(images), BATCH):
        x = torch.from_numpy((images[at : at + BATCH] / 255 - mean) / np.array(std)).movedim(-1, 1).float()
        x = F.interpolate(x, size=encoder.size, mode="bicubic", align_corners=False)
        with torch.inference_mode():
            for sight in both:
                parts[sight].append(looked(encoder, x, sight).numpy())
    whole = {sight: np.concatenate(found) for sight, found in parts.items()}
    return {sight: whole[replace(sight, stages=2)][:, : width(encoder, sight)] for sight in sights}


def scored(fit: Sights, test: Sights, y: Ints, wanted: Ints, classes: int) -> list[tuple[Sight, int, float, float]]:
    """Loss within the labels and balanced accuracy on the test part, by sight and place of the head."""
    fold, found = folds_of(y, None, 5), []
    for sight, z in fit.items():
        mean, spread = z.mean(0), z.std(0) + 1e-6
        new = (test[sight] - mean) / spread
        for place, head in enumerate(heads((z - mean) / spread, y, fold, classes)):
            found.append((sight, place, head.loss, _accuracy(head, new, wanted)))
    return found


def _accuracy(head: Head, z: Floats, wanted: Ints) -> float:
    return float(balanced_accuracy(wanted, (z @ head.weights + head.intercept).argmax(1)))


def measured(
    arrays: dict[str, NDArray[Any]], context: Context, tested: int, images: int
) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Scores (draws, columns) by encoder and number of labels; columns are CHOICES, then heads by sight."""
    turns = _turns(context)
    pool, y = _images(arrays["train_images"]), arrays["train_labels"].ravel().astype(np.int64)
    some = np.random.default_rng(0).permutation(len(arrays["test_images"]))[:tested]
    test, wanted = _images(arrays["test_images"][some]), arrays["test_labels"].ravel()[some].astype(np.int64)
    classes = int(y.max()) + 1
    truth, groups = Classes(y, tuple(map(str, range(classes)))), np.arange(len(y))
    drawn = {n: [draw_labels(truth, groups, n, [n, draw]) for draw in range(DRAWS)] for n in NUMBERS}
    used = np.unique(np.concatenate([places for draws in drawn.values() for places in draws]))
    sights = [Sight(stages, turned) for turned in (False, True)[: 1 + turns] for stages in (1, 2)]
    table = {}
    for name, encoder, mean, std in encoders(context, images):
        encoder.eval()
        fitted, seen = (embedded(encoder, images, mean, std, sights) for images in (pool[used], test))
        for number, draws in drawn.items():
            table[name, number] = np.array([_row(fitted, seen, used, y, at, wanted, classes) for at in draws])
            print(name, number, table[name, number].mean(0).round(4).tolist(), flush=True)
    return table


def _row(fitted: Sights, seen: Sights, used: Ints, y: Ints, at: Ints, wanted: Ints, classes: int) -> list[float]:
    own = {sight: z[np.searchsorted(used, at)] for sight, z in fitted.items()}
    found = scored(own, seen, y[at], wanted, classes)
    chosen = []
    for number, allowed in CHOICES.values():
        among = [row for row in found if row[1] < number and allowed(row[0])]
        chosen.append(min(among, key=lambda row: row[2])[3])
    return [*chosen, *(row[3] for row in found)]


def _turns(context: Context) -> bool:
    return "orientation" in context.config.lacks


def _images(images: NDArray[Any]) -> NDArray[np.uint8]:
    return images[..., None] if images.ndim == 3 else images


def written(table: dict[tuple[str, int], NDArray[np.float64]], turns: bool) -> str:
    """Means over the draws, gains over logistic alone with their standard errors, and each head at each sight."""
    names = [name for name in CHOICES if turns or name != "and turned or not"]
    lines = []
    for (encoder, number), scores in table.items():
        kept = [list(CHOICES).index(name) for name in names[1:]]
        gains = scores[:, kept] - scores[:, :1]
        errors = gains.std(0, ddof=1) / len(gains) ** 0.5
        told = [f"{gain:+.3f} ± {error:.3f}" for gain, error in zip(gains.mean(0), errors, strict=True)]
        lines.append([encoder, number, round(float(scores[:, 0].mean()), 3), *told])
    sights = [f"{'turns' if turned else 'as it is'}, {stages}" for turned in (0, 1)[: 1 + turns] for stages in (1, 2)]
    each = [
        [encoder, number, sight, *(round(float(v), 3) for v in scores[:, at : at + 3].mean(0))]
        for (encoder, number), scores in table.items()
        for sight, at in zip(sights, range(len(CHOICES), scores.shape[1], 3), strict=True)
    ]
    return "\n".join([
        markdown(["encoder", "labels", *names], lines),
        markdown(["encoder", "labels", "views, stages", "logistic", "ridge", "linear discriminants"], each),
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--modality", default="auto")
    parser.add_argument("--images", type=int, default=16384, help="that DCL sees")
    parser.add_argument("--tested", type=int, default=2000, help="images of the test part at most")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with np.load(args.data) as stored, tempfile.TemporaryDirectory() as folder:
        settings = {"methods": "dcl", "modality": args.modality, "backbone": "resnet10t", "device": "cpu"}
        context = opened(str(args.data), Path(folder) / "run", args.images, **settings)
        table = measured(dict(stored), context, args.tested, args.images)
        text = written(table, _turns(context))
    (HERE / f"{args.data.stem}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
