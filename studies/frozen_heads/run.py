"""Scores frozen heads on drawn labels: logistic alone, the best of three, with two stages, with flips and turns.

    python -m studies.frozen_heads.run pbc_blood_28.npz --turns
    python -m studies.frozen_heads.run pneumoniamnist.npz

Run from the top of a checkout, with the extra `imagenet`. The encoders are an untrained resnet10t at the size of the
images and EfficientNet-Lite0 with its ImageNet weights at 96 px. Labels are drawn as the label curve draws them, heads
and sights are chosen by log-loss within them, scores are balanced accuracies on images of the test part. Columns are
what the product would choose from; below them each head and each sight by itself.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from autossl.data.truth import Classes
from autossl.finish.curve import draw_labels
from autossl.nn.encoder import Encoder
from autossl.nn.sight import Sight, looked
from autossl.nn.weights import load_weights, weights_of
from autossl.proxies import balanced_accuracy
from autossl.targets.heads import Head, folds_of, heads
from studies.rows import markdown

HERE = Path(__file__).parent
NUMBERS, DRAWS, ENLARGED, BATCH = (100, 250), 5, 96, 128
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Sights = dict[Sight, Floats]
CHOICES: dict[str, tuple[int, Callable[[Sight], bool]]] = {  # what each column chooses from: heads and sights
    "logistic": (1, lambda sight: sight == Sight()),
    "best of three": (3, lambda sight: sight == Sight()),
    "+ two stages": (3, lambda sight: not sight.turned),
    "+ turns": (3, lambda _: True),
}


def encoders(channels: int, side: int) -> Iterator[tuple[str, Encoder, float, float]]:
    """Name, network, and mean and deviation of what it takes."""
    torch.manual_seed(0)
    yield "resnet10t, untrained", Encoder("resnet10t", channels, side), 0.5, 0.25
    given = weights_of("packaged:lite0")
    network = Encoder(str(given.architecture), channels, ENLARGED)
    yield "lite0, ImageNet", load_weights(network, given), 0.449, 0.226


def embedded(encoder: Encoder, images: NDArray[np.uint8], mean: float, std: float, sights: list[Sight]) -> Sights:
    """What each sight gives of images (n, h, w, c)."""
    parts: dict[Sight, list[Floats]] = {sight: [] for sight in sights}
    for at in range(0, len(images), BATCH):
        x = torch.from_numpy(images[at : at + BATCH]).movedim(-1, 1).float() / 255
        x = F.interpolate((x - mean) / std, size=encoder.size, mode="bicubic", align_corners=False)
        with torch.inference_mode():
            for sight in sights:
                parts[sight].append(looked(encoder, x, sight).numpy())
    return {sight: np.concatenate(found) for sight, found in parts.items()}


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


def measured(arrays: dict[str, NDArray[Any]], turns: bool, tested: int) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Scores (draws, columns) by encoder and number of labels; columns are CHOICES, then heads by sight."""
    pool, y = _images(arrays["train_images"]), arrays["train_labels"].ravel().astype(np.int64)
    some = np.random.default_rng(0).permutation(len(arrays["test_images"]))[:tested]
    test, wanted = _images(arrays["test_images"][some]), arrays["test_labels"].ravel()[some].astype(np.int64)
    classes = int(y.max()) + 1
    truth, groups = Classes(y, tuple(map(str, range(classes)))), np.arange(len(y))
    drawn = {n: [draw_labels(truth, groups, n, [n, draw]) for draw in range(DRAWS)] for n in NUMBERS}
    used = np.unique(np.concatenate([places for draws in drawn.values() for places in draws]))
    sights = [Sight(stages, turned) for turned in (False, True)[: 1 + turns] for stages in (1, 2)]
    table = {}
    for name, encoder, mean, std in encoders(pool.shape[-1], pool.shape[1]):
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


def _images(images: NDArray[Any]) -> NDArray[np.uint8]:
    return images[..., None] if images.ndim == 3 else images


def written(table: dict[tuple[str, int], NDArray[np.float64]], turns: bool) -> str:
    """Means over the draws, gains over logistic alone with their standard errors, and each head at each sight."""
    names = list(CHOICES)[: 3 + turns]
    lines = []
    for (encoder, number), scores in table.items():
        gains = scores[:, 1 : len(names)] - scores[:, :1]
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
    parser.add_argument("--turns", action="store_true", help="orientation tells nothing")
    parser.add_argument("--tested", type=int, default=2000, help="images of the test part at most")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with np.load(args.data) as stored:
        table = measured(dict(stored), args.turns, args.tested)
    text = written(table, args.turns)
    (HERE / f"{args.data.stem}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
