"""The pretext methods by name."""

from autossl.pretext.autoencoder import Autoencoder
from autossl.pretext.barlow import BarlowTwins
from autossl.pretext.base import Pretext
from autossl.pretext.byol import BYOL
from autossl.pretext.cnn_mae import CNNMAE
from autossl.pretext.colourisation import Colourisation
from autossl.pretext.context_restoration import ContextRestoration
from autossl.pretext.dcl import DCL
from autossl.pretext.denoising import Denoising
from autossl.pretext.densecl import DenseCL
from autossl.pretext.diet import DIET
from autossl.pretext.dino import DINO
from autossl.pretext.dira import DiRA
from autossl.pretext.genesis import ModelsGenesis
from autossl.pretext.glcl import GLCL
from autossl.pretext.hybrid import Hybrid
from autossl.pretext.ibot import IBOT
from autossl.pretext.ijepa import IJEPA
from autossl.pretext.inpainting import Inpainting
from autossl.pretext.jigsaw import Jigsaw
from autossl.pretext.lejepa import LeJEPA
from autossl.pretext.mae import MAE
from autossl.pretext.moco import MoCo
from autossl.pretext.mocov3 import MoCoV3
from autossl.pretext.nnclr import NNCLR
from autossl.pretext.noise2void import Noise2Void
from autossl.pretext.patient_positives import PatientPositives
from autossl.pretext.pcrl import PCRL
from autossl.pretext.pixpro import PixPro
from autossl.pretext.relative_location import RelativeLocation
from autossl.pretext.ressl import ReSSL
from autossl.pretext.rotation import Rotation
from autossl.pretext.rubik import Rubik
from autossl.pretext.simclr import SimCLR
from autossl.pretext.simmim import SimMIM
from autossl.pretext.simsiam import SimSiam
from autossl.pretext.slice_order import SliceOrder
from autossl.pretext.slice_position import SlicePosition
from autossl.pretext.spark import SparK
from autossl.pretext.stain_separation import StainSeparation
from autossl.pretext.super_resolution import SuperResolution
from autossl.pretext.swav import SwAV
from autossl.pretext.swin_unetr import SwinUNETR
from autossl.pretext.vicreg import VICReg
from autossl.pretext.vicregl import VICRegL
from autossl.pretext.voco import VoCo
from autossl.pretext.volume_fusion import VolumeFusion
from autossl.pretext.wmse import WMSE

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
    "dcl": DCL,
    "simsiam": SimSiam,
    "moco": MoCo,
    "mocov3": MoCoV3,
    "nnclr": NNCLR,
    "swav": SwAV,
    "dino": DINO,
    "lejepa": LeJEPA,
    "wmse": WMSE,
    "ressl": ReSSL,
    "inpainting": Inpainting,
    "context_restoration": ContextRestoration,
    "super_resolution": SuperResolution,
    "autoencoder": Autoencoder,
    "simmim": SimMIM,
    "colourisation": Colourisation,
    "densecl": DenseCL,
    "pixpro": PixPro,
    "vicregl": VICRegL,
    "mae": MAE,
    "ibot": IBOT,
    "ijepa": IJEPA,
    "spark": SparK,
    "patient_positives": PatientPositives,
    "relative_location": RelativeLocation,
    "glcl": GLCL,
    "noise2void": Noise2Void,
    "stain_separation": StainSeparation,
    "pcrl": PCRL,
    "dira": DiRA,
    "voco": VoCo,
    "swin_unetr": SwinUNETR,
    "rubik": Rubik,
    "slice_order": SliceOrder,
    "slice_position": SlicePosition,
    "volume_fusion": VolumeFusion,
    "diet": DIET,
}
Hybrid.methods = {name: cls for name, cls in METHODS.items() if cls is not Hybrid}

__all__ = ["METHODS", "Pretext"]
