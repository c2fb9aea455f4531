"""The pretext methods by name."""

from autossl.pretext.barlow import BarlowTwins
from autossl.pretext.base import Pretext
from autossl.pretext.byol import BYOL
from autossl.pretext.cnn_mae import CNNMAE
from autossl.pretext.denoising import Denoising
from autossl.pretext.genesis import ModelsGenesis
from autossl.pretext.hybrid import Hybrid
from autossl.pretext.jigsaw import Jigsaw
from autossl.pretext.rotation import Rotation
from autossl.pretext.simclr import SimCLR
from autossl.pretext.vicreg import VICReg

METHODS: dict[str, type[Pretext]] = {
    "simclr": SimCLR,
    "vicreg": VICReg,
    "byol": BYOL,
    "barlow": BarlowTwins,
    "rotation": Rotation,
    "jigsaw": Jigsaw,
    "cnn_mae": CNNMAE,
    "genesis": ModelsGenesis,
    "denoising": Denoising,
    "hybrid": Hybrid,
}

__all__ = ["METHODS", "Pretext"]
