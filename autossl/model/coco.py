"""Boxes that a model has found, in the form of COCO."""

from collections.abc import Mapping, Sequence
from typing import Any

from autossl.data import Fresh


def written(table: Mapping[str, list[Any]], found: Fresh, classes: Sequence[str]) -> dict[str, Any]:
    """Images, categories and annotations, each with its score, as JSON; numbers are from 1, in order.

    `table` has the columns image, x0, y0, x1, y1, label and score; images without a box are listed as well.
    """
    image = {name: number for number, name in enumerate(found.names, 1)}
    kind = {name: number for number, name in enumerate(classes, 1)}
    rows = zip(*(table[name] for name in ("image", "label", "score", "x0", "y0", "x1", "y1")), strict=True)
    return {
        "images": [
            {"id": image[name], "file_name": name, "height": given.sides[0], "width": given.sides[1]}
            for name, given in zip(found.names, found.given, strict=True)
        ],
        "categories": [{"id": number, "name": name} for name, number in kind.items()],
        "annotations": [
            {
                "id": number, "image_id": image[name], "category_id": kind[label], "score": score, "iscrowd": 0,
                "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)], "area": round((x1 - x0) * (y1 - y0), 2),
            }
            for number, (name, label, score, x0, y0, x1, y1) in enumerate(rows, 1)
        ],
    }  # fmt: skip
