"""Networks that there are to choose from; timm, which knows them, takes seconds to import."""

from typing import Any

import timm
import torch

from autossl.cli.listing import Rows, matching
from autossl.nn.encoder import default_backbone, dims_of
from autossl.nn.networks import REFUSED, create
from autossl.nn.volume_networks import VOLUMES

SIZED = 40  # networks whose parameters are counted: that takes up to a second each
DEFAULTS = {  # of a search, and where it takes them: image size, device, dimensions
    "images, on a CPU": (64, "cpu", 2),
    "images up to 64 px, on a GPU": (64, "cuda", 2),
    "larger images, on a GPU": (224, "cuda", 2),
    "volumes, on a CPU": (64, "cpu", 3),
    "volumes, on a GPU": (64, "cuda", 3),
}


def backbones() -> Rows:
    """Every backbone: those that a search takes by itself first, then others for volumes, then timm's."""
    taken: dict[str, list[str]] = {}
    for where, asked in DEFAULTS.items():
        taken.setdefault(default_backbone(*asked), []).append(where)
    names = dict.fromkeys((*taken, *VOLUMES, *timm.list_models()))
    return [
        {
            "name": name,
            "dims": dims_of(name),
            **({"about": "default for " + "; ".join(taken[name])} if name in taken else {}),
        }
        for name in names
    ]


def found_backbones(pattern: str) -> tuple[Rows, str]:
    """What `autossl list backbones` shows, with parameters where it is short, and what else there is.

    Without a pattern those that a search takes by itself and those for volumes.
    """
    every = backbones()
    if pattern:
        shown, more = matching(every, pattern), ""
    else:
        shown = [row for row in every if "about" in row or row["name"] in VOLUMES]
        more = f"{len(every) - len(shown):,} more networks of timm: autossl list backbones PATTERN (vit*small*, say)"
    return [{**row, **_size(row["name"])} for row in shown] if len(shown) <= SIZED else shown, more


def _size(name: str) -> dict[str, Any]:
    """Parameters of a network without a head, in millions; nothing where it cannot be built as it is."""
    try:
        with torch.device("meta"):  # no memory is taken and nothing is drawn
            made = create(name, 3 if dims_of(name) == 2 else 1, 224 if dims_of(name) == 2 else 64, {})
    except REFUSED:
        return {}
    return {"parameters": f"{sum(each.numel() for each in made.parameters()) / 1e6:.1f} M"}
